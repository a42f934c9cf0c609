import EventPipeline
import JSON
import Models

/// Keeps each reader's language, as the topic `accounts` says it is now, and forgets it with the account.
struct ReaderHandler: EventHandler {
    func apply(_ batch: EventBatch, _ unit: UnitOfWork) async throws {
        let events = batch.read(unit, only: AccountNews.types) { (type, json) throws(JSONError) in
            try AccountNews(type, json)
        }
        // The greatest revision that a batch has of an account holds, of equal ones the last.
        var last: [AccountID: AccountNews] = [:]
        for event in events where event.value.revision >= last[event.value.accountId]?.revision ?? 0 {
            last[event.value.accountId] = event.value
        }
        var readers: [AccountID: Reader] = [:]
        var gone: [AccountID] = []
        for (id, news) in last {
            switch news {
            case .account(let account): readers[id] = Reader(locale: account.locale, revision: news.revision)
            case .deleted: gone.append(id)
            }
        }
        let statements = ReaderStatements.keep(readers) + (gone.isEmpty ? [] : [ReaderStatements.forget(gone)])
        if !statements.isEmpty { _ = try await unit.transaction.pipeline(statements) }
    }
}
