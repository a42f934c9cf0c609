// The sales, in memory, as the topic says they are now.
import JSON
import Kafka
import Models
import Synchronization

final class SaleTable: Sendable {
    private struct Entry {
        let sale: Sale
        var isWithdrawn = false
    }

    private let sales = Mutex<[SaleID: Entry]>([:])
    /// What changed or was withdrawn, for whoever takes supply over. The newest are kept when nobody listens.
    let changes: AsyncStream<SaleID>
    private let changed: AsyncStream<SaleID>.Continuation

    init() {
        (changes, changed) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(10_000))
    }

    /// A sale that is published.
    subscript(_ saleId: SaleID) -> Sale? {
        sales.withLock { $0[saleId].flatMap { $0.isWithdrawn ? nil : $0.sale } }
    }

    /// A sale that was withdrawn since the program began, as it was. Others are in the table of stocks.
    func withdrawn(_ saleId: SaleID) -> Sale? {
        sales.withLock { $0[saleId].flatMap { $0.isWithdrawn ? $0.sale : nil } }
    }

    /// A record of the topic `sales`.
    func apply(_ key: ByteView, _ type: String, _ body: JSONValue?) throws(JSONError) {
        guard let body else {
            // A withdrawn sale takes no more orders; what it sold stays sold.
            if let saleId = SaleID(text: key) {
                sales.withLock { $0[saleId]?.isWithdrawn = true }
                changed.yield(saleId)
            }
            return
        }
        guard type == Sale.type else { return }
        let sale = try Sale(json: body)
        let isNewer = sales.withLock { sales in
            if let known = sales[sale.saleId]?.sale, known.revision > sale.revision { return false }
            sales[sale.saleId] = Entry(sale: sale)
            return true
        }
        if isNewer { changed.yield(sale.saleId) }
    }
}
