import EventPipeline
import JSON
import Models

/// What reservation says of one line: that it sold out, or is to be had again.
struct LineNews: Sendable {
    let saleId: SaleID
    let key: LineKey
    /// Nil: it is to be had.
    let soldOutAt: Timestamp?
    /// Nil: the publisher was a version that did not number what it says.
    let revision: Int?

    init(_ event: SaleSoldOut) {
        saleId = event.saleId
        key = LineKey(batch: event.batch, variant: event.variant)
        soldOutAt = event.soldOutAt
        revision = event.lineRevision
    }

    init(_ event: SaleAvailable) {
        saleId = event.saleId
        key = LineKey(batch: event.batch, variant: event.variant)
        soldOutAt = nil
        revision = event.lineRevision
    }
}

/// Keeps what reservation says of a sale's lines, so that the sale's readers see it.
struct AvailabilityHandler: EventHandler {
    private struct Line: Hashable {
        let saleId: SaleID
        let key: LineKey
    }

    func apply(_ batch: EventBatch, _ step: Step) async throws {
        let events: [Incoming<LineNews>] = batch.read(step, only: [SaleSoldOut.type, SaleAvailable.type]) {
            (type, json) throws(JSONError) in
            type == SaleSoldOut.type
                ? LineNews(try SaleSoldOut(json: json)) : LineNews(try SaleAvailable(json: json))
        }
        var newest: [Line: LineNews] = [:]
        for news in events.map(\.value) {
            let line = Line(saleId: news.saleId, key: news.key)
            if let known = newest[line]?.revision, let revision = news.revision, revision < known { continue }
            newest[line] = news
        }
        if newest.isEmpty { return }
        _ = try await step.transaction.execute(LineStatements.hear(Array(newest.values)))
    }
}
