// The compacted topic `keys` ends with what the schema says: its owner reads it back, as it does `accounts`.
import EventPipeline
import JSON
import Models
import Security

extension UnitOfWork {
    func publish(_ key: VerificationKey) {
        publish(.keys, key: Array(key.keyId.utf8), id: key.keyId, key)
    }

    func publish(_ ended: SessionEnded) {
        publish(.keys, key: ended.sessionId, id: "\(ended.sessionId)/ended", ended)
    }
}

/// A key never changes, but is withdrawn once no token bears it any more; an ended session is forgotten when its tokens
/// have run out. What else the topic says of either is published over, and what is not ours is withdrawn.
struct KeyEvents: EventHandler {
    let root: Identity.Root

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

    func apply(_ batch: EventBatch, _ unit: UnitOfWork) async throws {
        let events = batch.read(unit, only: [VerificationKey.type, SessionEnded.type]) {
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
        let sessions = names.compactMap { SessionID($0) }
        let rows = try await unit.transaction.pipeline([
            KeyStatements.published(names), SessionStatements.refused(sessions),
        ])
        for (keyId, jwk, notAfter) in try KeyStatements.publishedRow.all(rows[0]) {
            let key = VerificationKey(keyId: keyId, jwk: jwk, notAfter: notAfter, provenBy: root.secret.proof)
            known.insert(key.keyId)
            if last[key.keyId]?.said != .key(key) { unit.publish(key) }
        }
        for (session, until) in try SessionStatements.refusedRow.all(rows[1]) {
            known.insert(session.description)
            let ended = SessionEnded(sessionId: session, refusedUntil: until, provenBy: root.secret.proof)
            if last[session.description]?.said != .session(ended) { unit.publish(ended) }
        }
        // One that is not there, still valid and proven is of a schema that is newer than this one: nothing to withdraw.
        for name in names where !known.contains(name) {
            guard let said = last[name]?.said, let endsAt = said.endsAt else { continue }
            if endsAt <= unit.now || !said.isProven(by: root.keys) {
                unit.publishTombstone(.keys, key: Array(name.utf8))
            }
        }
    }
}
