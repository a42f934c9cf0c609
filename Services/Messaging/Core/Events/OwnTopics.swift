// The compacted topics `accounts` and `keys` end with what the schema says. Their owner reads them back: a publisher that
// was frozen while it sent, and another that took over, may leave an older record behind a newer one, and compaction would
// keep that one for good.
import EventPipeline
import JSON
import Kafka
import Models
import Observability

extension Step {
    /// An account as it is now.
    func publish(_ account: Account, cause: TraceContext? = nil) {
        publish(
            .accounts, key: account.accountId, id: "\(account.accountId)/\(account.revision ?? 0)", account,
            cause: cause)
    }

    func publish(_ key: VerificationKey) {
        publish(.keys, key: Array(key.keyId.utf8), id: key.keyId, key)
    }
}

/// Publishes an account again where the last record of a batch is older than it. What it publishes is what the schema
/// says, so it ends there.
struct AccountReadback: EventHandler {
    func apply(_ batch: EventBatch, _ step: Step) async throws {
        let events = batch.read(step, only: [Account.type]) { (_, json) throws(JSONError) in try Account(json: json) }
        var last: [AccountID: Int64] = [:]
        for event in events { last[event.value.accountId] = event.value.revision ?? 0 }
        if last.isEmpty { return }
        for account in try await AccountStorage.published(last.keys.sorted(), in: step.transaction)
        where last[account.accountId] ?? 0 < account.revision ?? 0 {
            step.publish(account)
        }
    }
}

/// A key never changes, but is withdrawn once no token bears it any more.
struct KeyReadback: EventHandler {
    func apply(_ batch: EventBatch, _ step: Step) async throws {
        let events = batch.read(step, only: [VerificationKey.type]) { (_, json) throws(JSONError) in
            try VerificationKey(json: json)
        }
        // What the batch says last of each key: nil, that it is withdrawn.
        var last: [String: (offset: Int64, key: VerificationKey?)] = [:]
        for event in events { last[event.value.keyId] = (event.offset, event.value) }
        for tombstone in batch.tombstones {
            let keyID = String(decoding: tombstone.key, as: UTF8.self)
            if last[keyID].map({ $0.offset < tombstone.offset }) ?? true { last[keyID] = (tombstone.offset, nil) }
        }
        if last.isEmpty { return }
        let stored = try await KeyStorage.published(last.keys.sorted(), in: step.transaction)
        for key in stored where last[key.keyId]?.key == nil { step.publish(key) }
        let known = Set(stored.map(\.keyId))
        // One that is not there and still valid is of a schema that is newer than this one: nothing to withdraw.
        for (keyID, said) in last.sorted(by: { $0.key < $1.key }) where !known.contains(keyID) {
            if let key = said.key, key.notAfter <= step.now { step.publishTombstone(.keys, key: Array(keyID.utf8)) }
        }
    }
}
