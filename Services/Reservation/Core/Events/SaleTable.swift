// The published sales, in memory, as the topic says they are now.
import JSON
import Kafka
import Models
import Synchronization

final class SaleTable: Sendable {
    private let sales = Mutex<[SaleID: Sale]>([:])
    /// What changed or was withdrawn, for whoever takes supply over. The newest are kept when nobody listens.
    let changes: AsyncStream<SaleID>
    private let changed: AsyncStream<SaleID>.Continuation

    init() {
        (changes, changed) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(10_000))
    }

    subscript(_ saleId: SaleID) -> Sale? { sales.withLock { $0[saleId] } }

    var count: Int { sales.withLock { $0.count } }

    /// A record of the topic `sales`.
    func apply(_ key: ByteView, _ type: String, _ body: JSONValue?) throws(JSONError) {
        guard let body else {
            // A withdrawn sale takes no more orders; what it sold stays sold.
            if let saleId = SaleID(text: key) {
                sales.withLock { _ = $0.removeValue(forKey: saleId) }
                changed.yield(saleId)
            }
            return
        }
        guard type == Sale.type else { return }
        let sale = try Sale(json: body)
        let isNewer = sales.withLock { sales in
            if let known = sales[sale.saleId], known.revision > sale.revision { return false }
            sales[sale.saleId] = sale
            return true
        }
        if isNewer { changed.yield(sale.saleId) }
    }
}
