import EventPipeline
import JSON
import Models

/// Keeps each reader's language, as the topic `accounts` says it is now.
struct ReaderHandler: EventHandler {
    func apply(_ batch: EventBatch, _ step: Step) async throws {
        let events: [Incoming<Account>] = batch.read(step, only: [Account.type]) { (_, json) throws(JSONError) in
            try Account(json: json)
        }
        // The last that a batch says of an account holds.
        var locales: [AccountID: String] = [:]
        for event in events { locales[event.value.accountId] = event.value.locale }
        if locales.isEmpty { return }
        _ = try await step.transaction.pipeline(ReaderStatements.keep(locales))
    }
}
