// Topic `sales`: what was published is read back.
import EventPipeline
import JSON
import Models

/// Reads back what the catalog publishes of sales, and publishes a sale again where the last record of a batch is older
/// than it. A publisher that was frozen while it sent, and another that took over, may leave an older record behind a newer
/// one, and compaction would keep that one for good. What is published again is what the schema says, so it ends there.
///
/// A product never changes, so that an older record of it is the same.
struct SaleEvents: EventHandler {
    func apply(_ batch: EventBatch, _ unit: UnitOfWork) async throws {
        let events = batch.read(unit, only: [Sale.type]) { (_, json) throws(JSONError) in try Sale(json: json) }
        var last: [SaleID: Int64] = [:]
        for event in events { last[event.value.saleId] = event.value.revision }
        if last.isEmpty { return }
        for row in try await unit.transaction.query(SaleStatements.published(last.keys.sorted())) {
            let sale: Sale
            do {
                sale = try SaleStatements.saleRow.value(row).sale
            } catch let error as StoredDocumentError {
                throw Unappliable(reason: error.description)
            }
            if last[sale.saleId] ?? 0 < sale.revision { unit.publish(sale) }
        }
    }
}

extension UnitOfWork {
    /// A published sale as it is now.
    func publish(_ sale: Sale) { publish(.sales, key: sale.saleId, id: "\(sale.saleId)/\(sale.revision)", sale) }
}
