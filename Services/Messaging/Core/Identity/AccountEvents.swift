// The compacted topics `accounts` and `keys` end with what the schema says. Their owner reads them back: a publisher that
// was frozen while it sent, and another that took over, may leave an older record behind a newer one, and compaction would
// keep that one for good.
import EventPipeline
import JSON
import Kafka
import Models
import Observability
import Security

extension Step {
    /// An account as it is now.
    func publish(_ account: Account, cause: TraceContext? = nil) {
        publish(
            .accounts, key: account.accountId, id: "\(account.accountId)/\(account.revision ?? 0)", account,
            cause: cause)
    }

    func publish(_ deleted: AccountDeleted, cause: TraceContext? = nil) {
        publish(
            .accounts, key: deleted.accountId, id: "\(deleted.accountId)/\(deleted.revision)", deleted, cause: cause)
    }

    func publish(_ key: VerificationKey) {
        publish(.keys, key: Array(key.keyId.utf8), id: key.keyId, key)
    }

    func publish(_ ended: SessionEnded) {
        publish(.keys, key: ended.sessionId, id: "\(ended.sessionId)/ended", ended)
    }
}

/// Publishes an account again where the last record of a batch is older than it. What it publishes is what the schema
/// says, so it ends there.
struct AccountReadback: EventHandler {
    func apply(_ batch: EventBatch, _ step: Step) async throws {
        let events = batch.read(step, only: AccountNews.types) { (type, json) throws(JSONError) in
            try AccountNews(type, json)
        }
        var last: [AccountID: Int64] = [:]
        for event in events { last[event.value.accountId] = event.value.revision }
        if last.isEmpty { return }
        for account in try await AccountStorage.published(last.keys.sorted(), in: step.transaction)
        where last[account.accountId] ?? 0 < account.revision ?? 0 {
            step.publish(account)
        }
        for deleted in try await AccountStorage.deleted(last.keys.sorted(), in: step.transaction)
        where last[deleted.accountId] ?? 0 < deleted.revision {
            step.publish(deleted)
        }
    }
}

/// A key never changes, but is withdrawn once no token bears it any more; an ended session is forgotten when its tokens
/// have run out. What else the topic says of either is published over, and what is not ours is withdrawn.
struct KeyReadback: EventHandler {
    let root: RootSecret
    let roots: RootKeys

    private enum Said: Equatable {
        case key(VerificationKey), session(SessionEnded), nothing

        var endsAt: Timestamp? {
            switch self {
            case .key(let key): key.notAfter
            case .session(let session): session.refusedUntil
            case .nothing: nil
            }
        }

        func isProven(by roots: RootKeys) -> Bool {
            switch self {
            case .key(let key): roots.prove(key.provenBytes, by: key.proof ?? "")
            case .session(let session): roots.prove(session.provenBytes, by: session.proof ?? "")
            case .nothing: true
            }
        }
    }

    func apply(_ batch: EventBatch, _ step: Step) async throws {
        let events = batch.read(step, only: [VerificationKey.type, SessionEnded.type]) {
            (type, json) throws(JSONError) -> Said in
            type == VerificationKey.type
                ? .key(try VerificationKey(json: json)) : .session(try SessionEnded(json: json))
        }
        // What the batch says last under each key of the topic, whatever the record itself calls it.
        var last: [String: (offset: Int64, said: Said)] = [:]
        for event in events {
            guard let key = event.key else { continue }
            last[String(decoding: key, as: UTF8.self)] = (event.offset, event.value)
        }
        for tombstone in batch.tombstones {
            let name = String(decoding: tombstone.key, as: UTF8.self)
            if last[name].map({ $0.offset < tombstone.offset }) ?? true { last[name] = (tombstone.offset, .nothing) }
        }
        if last.isEmpty { return }
        let names = last.keys.sorted()
        var known: Set<String> = []
        for key in try await KeyStorage.published(names, provenBy: root, in: step.transaction) {
            known.insert(key.keyId)
            if last[key.keyId]?.said != .key(key) { step.publish(key) }
        }
        let sessions = names.compactMap { SessionID($0) }
        for (session, until) in try await SessionStorage.refused(sessions, in: step.transaction) {
            known.insert(session.description)
            let ended = SessionEnded(sessionId: session, refusedUntil: until, provenBy: root.proof)
            if last[session.description]?.said != .session(ended) { step.publish(ended) }
        }
        // One that is not there, still valid and proven is of a schema that is newer than this one: nothing to withdraw.
        for name in names where !known.contains(name) {
            guard let said = last[name]?.said, let endsAt = said.endsAt else { continue }
            if endsAt <= step.now || !said.isProven(by: roots) { step.publishTombstone(.keys, key: Array(name.utf8)) }
        }
    }
}
