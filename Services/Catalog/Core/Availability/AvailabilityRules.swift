// What is heard of a sale's lines, and which of it counts.
import Models

/// One line of a sale's batches.
struct LineKey: Hashable, Sendable {
    let batch: Int
    let variant: String
}

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

    private struct Line: Hashable {
        let saleId: SaleID
        let key: LineKey
    }

    /// The newest of each line. What is not numbered counts in the order in which it came.
    static func newest(_ all: [LineNews]) -> [LineNews] {
        var newest: [Line: LineNews] = [:]
        for news in all {
            let line = Line(saleId: news.saleId, key: news.key)
            if let known = newest[line]?.revision, let revision = news.revision, revision < known { continue }
            newest[line] = news
        }
        return Array(newest.values)
    }
}
