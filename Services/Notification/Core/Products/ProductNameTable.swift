// What sales sell, by the catalogue's topics.
import EventPipeline
import JSON
import Kafka
import Models
import Runtime
import ServiceKit
import Synchronization

/// Keeps the names of products and which sale sells which, from the compacted topics `products` and `sales`.
final class ProductNameTable: Sendable {
    private struct State {
        var products: [ProductID: Product] = [:]
        var saleProducts: [SaleID: ProductID] = [:]
        /// Sales that the topics did not hold when they were last read to their ends.
        var missing: Set<SaleID> = []
        /// The reading to their ends that is under way.
        var catchingUp: Task<Void, any Error>?
    }

    private let state: Facts
    private let sales: CompactedTable
    private let products: CompactedTable

    /// In an object of its own, because the tables' closures hold it too.
    private final class Facts: Sendable {
        let lock = Mutex(State())
    }

    /// Sales that somebody made up are not remembered without end.
    private static let missingMax = 10_000

    init(_ context: ServiceContext) {
        let state = Facts()
        self.state = state
        products = CompactedTable(context, topic: .products) { (_, type, body) throws(JSONError) in
            guard let body, type == Product.type else { return }
            let product = try Product(json: body)
            state.lock.withLock { $0.products[product.productId] = product }
        }
        sales = CompactedTable(context, topic: .sales) { (key, type, body) throws(JSONError) in
            // A sale that was withdrawn still has its name: its orders' fates are told.
            guard let body, type == Sale.type else { return }
            let sale = try Sale(json: body)
            state.lock.withLock { $0.saleProducts[sale.saleId] = sale.productId }
        }
    }

    /// In the order in which they start.
    var consumers: [any Consumer] { [products, sales] }

    func names(of sale: SaleID) -> ProductNames? {
        state.lock.withLock { state in
            state.saleProducts[sale].flatMap { state.products[$0] }.map { ProductNames(saleId: sale, product: $0) }
        }
    }

    /// Whether the names of a sale may still be on their way. False once the topics were read to their ends in vain.
    func mayCome(_ sale: SaleID) -> Bool { state.lock.withLock { !$0.missing.contains(sale) } }

    /// Reads on until the topics' present ends, and remembers which of the sales were not there. A name is worth a moment's
    /// waiting and no more: partitions that wait at the same time wait for one reading, and none longer than
    /// `patience`. Where it began before the call, the caller looks again and may call once more.
    func catchUp(for wanted: [SaleID]) async throws {
        let (reading, isOwn) = state.lock.withLock { state in
            if let reading = state.catchingUp { return (reading, false) }
            let reading = Task.detached { [products, sales] in
                try await products.catchUp()
                try await sales.catchUp()
            }
            state.catchingUp = reading
            return (reading, true)
        }
        if isOwn {
            // Whoever waited may have gone: the next reading can begin when this one has ended.
            Task.detached { [state] in
                _ = await reading.result
                state.lock.withLock { $0.catchingUp = nil }
            }
        }
        let isDone = try await Self.ends(reading, within: Self.patience)
        if isDone && !isOwn { return }
        let absent = wanted.filter { names(of: $0) == nil }
        state.lock.withLock {
            if $0.missing.count + absent.count > Self.missingMax { $0.missing = [] }
            $0.missing.formUnion(absent)
        }
    }

    private static let patience = Duration.seconds(1)

    /// Whether the work ended in time; it goes on in any case.
    private static func ends(_ work: Task<Void, any Error>, within patience: Duration) async throws -> Bool {
        let end = await within(patience) { await work.result }
        // Cancelled: the partition goes.
        if end == nil && Task.isCancelled { throw CancellationError() }
        try end?.get()
        return end != nil
    }
}
