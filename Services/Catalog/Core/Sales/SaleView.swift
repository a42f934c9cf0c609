// A sale, and what became of it, as they are shown.
import JSON
import Models
import Postgres
import ServiceKit

/// A sale as its readers see it.
struct SaleView: JSONWritable, Sendable {
    let stored: StoredSale
    let soldOut: [LineKey: Timestamp]

    /// - Parameter rows: what `AvailabilityStatements.soldOut` found of these sales.
    static func all(_ sales: [StoredSale], soldOut rows: Rows) throws -> [SaleView] {
        var soldOut: [SaleID: [LineKey: Timestamp]] = [:]
        for line in try AvailabilityStatements.soldOutRow.all(rows) {
            soldOut[line.sale, default: [:]][line.key] = line.time
        }
        return sales.map { SaleView(stored: $0, soldOut: soldOut[$0.sale.saleId] ?? [:]) }
    }

    /// An edit is made of a revision. What sells out meanwhile changes the document, not what its brand edits.
    var tag: EntityTag { EntityTag(of: JSONWriter.document(self), revision: stored.sale.revision) }

    var created: KeptAnswer {
        KeptAnswer(
            status: 201, location: "/v1/sales/\(stored.sale.saleId)", body: JSONWriter.document(self))
    }

    func write(to writer: inout JSONWriter) {
        let sale = stored.sale
        writer.object {
            $0.field("saleId", sale.saleId)
            $0.field("brandId", sale.brandId)
            $0.field("productId", sale.productId)
            $0.field("status", stored.status.rawValue)
            $0.field("revision", sale.revision)
            $0.field("title", sale.title)
            $0.field("holdSeconds", sale.holdSeconds)
            $0.field("waitlistMax", sale.waitlistMax)
            $0.field("createdAt", stored.createdAt)
            $0.field("publishedAt", optional: stored.publishedAt)
            $0.name("batches")
            $0.array { writer in
                for batch in sale.batches { write(batch, to: &writer) }
            }
        }
    }

    private func write(_ batch: Sale.Batch, to writer: inout JSONWriter) {
        writer.object {
            $0.field("number", batch.number)
            $0.field("opensAt", batch.opensAt)
            $0.field("closesAt", optional: batch.closesAt)
            $0.name("lines")
            $0.array {
                for line in batch.lines {
                    $0.object {
                        $0.field("variant", line.variant)
                        $0.field("units", line.units)
                        $0.field("price", line.price)
                        $0.field(
                            "soldOutAt", optional: soldOut[LineKey(batch: batch.number, variant: line.variant)])
                    }
                }
            }
        }
    }
}

extension SaleChange: JSONWritable {
    func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("revision", sale.revision)
            $0.field("action", action.rawValue)
            $0.field("changedBy", changedBy)
            $0.field("changedAt", changedAt)
            $0.field("sale", sale)
        }
    }
}
