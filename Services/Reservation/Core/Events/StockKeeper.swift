// Keeps the stocks moving: supply in, leases filled, holds that ran out released, the waitlist promoted, sold out said.
import EventPipeline
import Models
import Observability
import Postgres
import ServiceKit
import Synchronization

/// Works through the relay: what it changes and what it says are one transaction. Woken by what happens, and once a
/// second for holds that run out.
final class StockKeeper: Component {
    let name = "stock keeper"

    /// A payment made in the last moment has this long to arrive.
    static let expiryGraceSeconds: Int64 = 5
    private static let roundSeconds = 1

    private let context: ServiceContext
    private let relay: Relay
    private let sales: SaleTable
    private let stocks = StockStorage()
    private let settlement = SettlementStorage()
    private let tasks = Mutex<[Task<Void, Never>]>([])
    /// The traces of the orders that took the last units here, until that is said.
    private let lastOrders = Mutex<[StockKey: TraceContext]>([:])
    private static let lastOrdersMax = 1000
    private let looks: AsyncStream<Void>
    private let wakeup: AsyncStream<Void>.Continuation

    init(_ context: ServiceContext, relay: Relay, sales: SaleTable) {
        self.context = context
        self.relay = relay
        self.sales = sales
        (looks, wakeup) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    func start() async throws {
        let taking = Task.detached { [self] in
            for await sale in sales.changes { await attempt("take a sale's supply over") { try await self.take(sale) } }
        }
        let keeping = Task.detached { [self] in
            for await _ in looks {
                await attempt("release holds that ran out") { while try await self.expire() {} }
                await attempt("promote the waitlist") { try await self.attend() }
            }
        }
        let clock = Task.detached { [self] in
            while (try? await Task.sleep(for: .seconds(Self.roundSeconds))) != nil { look() }
        }
        tasks.withLock { $0 = [taking, keeping, clock] }
    }

    func stop() async {
        wakeup.finish()
        let tasks = tasks.withLock { $0 }
        for task in tasks { task.cancel() }
        for task in tasks { await task.value }
    }

    /// Has the keeper look soon whether there is something to do.
    func look() { wakeup.yield() }

    /// The same for a stock whose last unit an order has just taken.
    func look(_ key: StockKey, lastOrder: TraceContext?) {
        if let lastOrder {
            lastOrders.withLock { orders in
                if orders.count < Self.lastOrdersMax || orders[key] != nil { orders[key] = lastOrder }
            }
        }
        look()
    }

    // MARK: What others ask for

    /// Takes a sale's supply over; a revision that was taken over before changes nothing.
    func take(_ sale: Sale) async throws {
        try await relay.commit { step in try await self.stocks.take(sale, step.transaction) }
        look()
    }

    /// Tops up a partition's lease. Orders that wait come before orders that arrive.
    func refill(_ shortage: Shortage, partition: Int32) async throws {
        try await relay.commit { step in
            guard let found = try await self.stocks.lock(shortage.key, step.transaction) else { return }
            var stock = found
            stock.grant(to: partition, wanted: shortage.wanted, partitions: Int64(Topic.orders.partitions))
            if stock != found { step.transaction.finish(self.stocks.save(stock, shortage.key)) }
        }
    }

    /// - Parameter causes: the traces of what ended them, by order; those of a clock have none.
    func publishReleased(
        _ orders: [ChangedOrder], reason: OrderReleased.Reason, causes: [OrderID: TraceContext] = [:], _ step: Step
    ) {
        for order in orders {
            step.publish(
                .reservations, key: order.line.buyerId, id: "\(order.line.orderId)/released",
                OrderReleased(line: order.line, reason: reason), cause: causes[order.line.orderId])
        }
    }

    /// Puts the units of these orders back into their pools, with the step's commit.
    func giveBack(_ orders: [ChangedOrder], _ step: Step) {
        guard !orders.isEmpty else { return }
        var units: [StockKey: Int64] = [:]
        for order in orders { units[order.key, default: 0] += 1 }
        step.transaction.finish([stocks.giveBack(units)])
        look()
    }

    // MARK: What the keeper does by itself

    /// Releases holds that ran out; true when there may be more.
    private func expire() async throws -> Bool {
        try await relay.commit { step in
            let expired = try await self.settlement.expire(
                graceSeconds: Self.expiryGraceSeconds, step.transaction)
            self.publishReleased(expired, reason: .expired, step)
            self.giveBack(expired, step)
            return !expired.isEmpty
        }
    }

    private func attend() async throws {
        for key in try await stocks.unattended(context.postgres) {
            while try await promote(key) {}
            try await relay.commit { step in
                guard try await self.stocks.lock(key, step.transaction) != nil else { return }
                let cause = self.lastOrders.withLock { $0.removeValue(forKey: key) }
                if let soldOut = try await self.stocks.markSoldOut(key, step.transaction) {
                    step.publish(
                        .reservations, key: key.saleId, id: "\(key.saleId)/\(key.batch)/\(key.variant)/soldout",
                        soldOut, cause: cause)
                }
            }
        }
    }

    /// Gives free units, those in leases too, to whoever waits; true when there may be more to give.
    private func promote(_ key: StockKey) async throws -> Bool {
        try await relay.commit { step in
            guard var stock = try await self.stocks.lock(key, step.transaction) else { return false }
            let free = stock.freeUnits
            guard free > 0 else { return false }
            if stock.pool < free {
                stock.pool = free
                for index in stock.leases.indices { stock.leases[index].units = 0 }
                _ = try await step.transaction.pipeline(self.stocks.save(stock, key))
            }
            let promoted = try await self.stocks.promote(key, step.transaction)
            for order in promoted {
                step.publish(
                    .reservations, key: order.line.buyerId, id: "\(order.line.orderId)/reserved",
                    OrderReserved(
                        line: order.line, price: order.price, holdUntil: order.holdUntil ?? step.now, promoted: true))
            }
            return !promoted.isEmpty
        }
    }

    private func attempt(_ what: String, _ body: () async throws -> Void) async {
        do { try await body() } catch is CancellationError {} catch {
            context.log.warning("the stock keeper will try again", ["what": what, "error": "\(error)"])
        }
    }
}
