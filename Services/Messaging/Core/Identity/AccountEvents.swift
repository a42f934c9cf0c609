// The compacted topic `accounts` ends with what the schema says. Its owner reads it back: a publisher that was frozen while it
// sent, and another that took over, may leave an older record behind a newer one, and compaction would keep that one for
// good.
import EventPipeline
import JSON
import Models

extension UnitOfWork {
    /// An account as it is now.
    func publish(_ account: Account) {
        publish(.accounts, key: account.accountId, id: "\(account.accountId)/\(account.revision ?? 0)", account)
    }

    func publish(_ deleted: AccountDeleted) {
        publish(.accounts, key: deleted.accountId, id: "\(deleted.accountId)/\(deleted.revision)", deleted)
    }
}

/// Publishes an account again where the last record of a batch is older than it. What it publishes is what the schema
/// says, so it ends there.
struct AccountEvents: EventHandler {
    func apply(_ batch: EventBatch, _ unit: UnitOfWork) async throws {
        let events = batch.read(unit, only: AccountNews.types) { (type, json) throws(JSONError) in
            try AccountNews(type, json)
        }
        var last: [AccountID: Int64] = [:]
        for event in events { last[event.value.accountId] = event.value.revision }
        if last.isEmpty { return }
        let ids = last.keys.sorted()
        let rows = try await unit.transaction.pipeline([
            AccountStatements.published(ids), AccountStatements.deleted(ids),
        ])
        for account in try AccountStatements.publishedRow.all(rows[0])
        where last[account.accountId] ?? 0 < account.revision ?? 0 {
            unit.publish(account)
        }
        for deleted in try AccountStatements.deletedRow.all(rows[1])
        where last[deleted.accountId] ?? 0 < deleted.revision {
            unit.publish(deleted)
        }
    }
}
