import EventPipeline
import JSON
import Models

/// Keeps each reader's language, as the topic `accounts` says it is now, and forgets it with the account.
struct ReaderHandler: EventHandler {
    /// What a record says of an account: nil once it is deleted.
    private struct Said: Sendable {
        let account: AccountID
        let revision: Int64
        let locale: String?
    }

    func apply(_ batch: EventBatch, _ step: Step) async throws {
        let events = batch.read(step, only: [Account.type, AccountDeleted.type]) {
            (type, json) throws(JSONError) -> Said in
            if type == AccountDeleted.type {
                let deleted = try AccountDeleted(json: json)
                return Said(account: deleted.accountId, revision: deleted.revision, locale: nil)
            }
            let account = try Account(json: json)
            return Said(account: account.accountId, revision: account.revision ?? 0, locale: account.locale)
        }
        // The greatest revision that a batch has of an account holds, of equal ones the last.
        var last: [AccountID: Said] = [:]
        for event in events where event.value.revision >= last[event.value.account]?.revision ?? 0 {
            last[event.value.account] = event.value
        }
        let readers = last.compactMapValues { said in
            said.locale.map { Reader(locale: $0, revision: said.revision) }
        }
        let gone = last.values.filter { $0.locale == nil }.map(\.account)
        let statements = ReaderStatements.keep(readers) + (gone.isEmpty ? [] : [ReaderStatements.forget(gone)])
        if !statements.isEmpty { _ = try await step.transaction.pipeline(statements) }
    }
}
