import EventPipeline
import JSON
import Models

/// Keeps what reservation says sold out, so that a sale's readers see it.
struct SoldOutHandler: EventHandler {
    func apply(_ batch: EventBatch, _ step: Step) async throws {
        let events: [Incoming<SaleSoldOut>] = batch.read(step, only: [SaleSoldOut.type]) {
            (_, json) throws(JSONError) in
            try SaleSoldOut(json: json)
        }
        if events.isEmpty { return }
        _ = try await step.transaction.execute(LineStatements.soldOut(events.map(\.value)))
    }
}
