// Topic `reservations`: what sold out, and what is to be had again, is kept for the sale's readers.
import EventPipeline
import JSON
import Models

struct AvailabilityEvents: EventHandler {
    func apply(_ batch: EventBatch, _ unit: UnitOfWork) async throws {
        let events = batch.read(unit, only: [SaleSoldOut.type, SaleAvailable.type]) {
            (type, json) throws(JSONError) -> LineNews? in
            type == SaleSoldOut.type
                ? LineNews(try SaleSoldOut(json: json)) : LineNews(try SaleAvailable(json: json))
        }
        let newest = LineNews.newest(events.map(\.value))
        if newest.isEmpty { return }
        _ = try await unit.transaction.execute(AvailabilityStatements.hear(newest))
    }
}
