import EventPipeline
import JSON
import Models

/// Keeps each reader's language, as the topic `accounts` says it is now.
struct ReaderHandler: EventHandler {
    func apply(_ batch: EventBatch, _ step: Step) async throws {
        let events: [Incoming<Account>] = batch.read(step, only: [Account.type]) { (_, json) throws(JSONError) in
            try Account(json: json)
        }
        // The greatest revision that a batch has of an account holds, of equal ones the last.
        var readers: [AccountID: Reader] = [:]
        for event in events {
            let reader = Reader(locale: event.value.locale, revision: event.value.revision ?? 0)
            if reader.revision >= readers[event.value.accountId]?.revision ?? 0 {
                readers[event.value.accountId] = reader
            }
        }
        if readers.isEmpty { return }
        _ = try await step.transaction.pipeline(ReaderStatements.keep(readers))
    }
}
