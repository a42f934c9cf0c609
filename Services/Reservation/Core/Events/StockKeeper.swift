// Keeps the stocks moving: supply in, leases filled, holds that ran out released, the waitlist promoted, sold out said.
import EventPipeline
import Models
import Observability
import Postgres
import Runtime
import ServiceKit
import Synchronization

/// Works through the relay: what it changes and what it says are one transaction. Woken by what happens, and once a
/// second for holds that run out.
final class StockKeeper: Component {
    let name = "stock keeper"

    /// A payment made in the last moment has this long to arrive.
    static let expiryGraceSeconds: Int64 = 5
    private static let roundInterval = Duration.seconds(1)
    /// Stocks of which it is remembered what failed last.
    private static let failuresMax = 1000

    private let context: ServiceContext
    private let relay: Relay
    private let sales: SaleTable
    private let stocks = StockStorage()
    private let settlement = SettlementStorage()
    private let early = EarlyCancellations()
    private let taking = Mutex<Task<Void, Never>?>(nil)
    private let rounds = Mutex<Periodic?>(nil)
    /// The traces of the orders that took the last units here, until that is said.
    private let lastOrders = Mutex<[StockKey: TraceContext]>([:])
    private static let lastOrdersMax = 1000
    /// Sales that could not be taken over when they changed.
    private let untaken = Mutex<Set<SaleID>>([])
    /// What came back while an older version ran was looked for.
    private let hasLookedBack = Atomic(false)

    init(_ context: ServiceContext, relay: Relay, sales: SaleTable) {
        self.context = context
        self.relay = relay
        self.sales = sales
    }

    func start() async throws {
        let taking = Task.detached { [self] in
            for await saleId in sales.changes {
                do { try await take(saleId) } catch {
                    // The next round says why, if it fails there too.
                    untaken.withLock { _ = $0.insert(saleId) }
                    look()
                }
            }
        }
        self.taking.withLock { $0 = taking }
        let failures = Failures(log: context.log, atMost: Self.failuresMax)
        let rounds = Periodic(every: Self.roundInterval) { [self] in await round(failures) }
        self.rounds.withLock { $0 = rounds }
        rounds.start()
    }

    func stop() async {
        let taking = taking.withLock { $0 }
        taking?.cancel()
        await taking?.value
        await rounds.withLock { $0 }?.stop()
    }

    /// Has the keeper look soon whether there is something to do.
    func look() { rounds.withLock { $0 }?.wake() }

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
        try await relay.commit { step in try await self.take(sale, step) }
        look()
    }

    private func take(_ sale: Sale, _ step: Step) async throws {
        for availability in try await stocks.take(sale, at: step.now, step.transaction) { publish(availability, step) }
    }

    /// Takes over what the table says of a sale now; where it says nothing, the sale was withdrawn: its batches end.
    private func take(_ saleId: SaleID) async throws {
        if let sale = sales[saleId] { return try await take(sale) }
        let withdrawn = sales.withdrawn(saleId)
        try await relay.commit { step in
            // Orders that come later are answered by what is in the table of stocks, after a restart too.
            if let withdrawn { try await self.take(withdrawn, step) }
            try await self.stocks.close(saleId, at: step.now, step.transaction)
        }
        look()
    }

    /// Tops up a partition's lease. Orders that wait come before orders that arrive.
    /// - Parameter partition: has sent all that it owes; its orders are not held back by its outbox.
    func refill(_ shortage: Shortage, partition: Int32) async throws {
        while try await refillOnce(shortage, partition: partition) {}
    }

    /// True when more may have to be promoted before the lease gets something.
    private func refillOnce(_ shortage: Shortage, partition: Int32) async throws -> Bool {
        try await relay.commit { step in
            guard let locked = try await self.stocks.lock(shortage.key, at: step.now, step.transaction) else {
                return false
            }
            var stock = locked.stock
            var (promoted, waiting): (Int64, Int64) = (0, 0)
            if !locked.isClosed {
                (promoted, waiting) = try await self.promote(shortage.key, &stock, sent: partition, step)
            }
            // Those who wait and cannot be promoted yet keep their claim, but never so that a partition cannot go on.
            let claimed = promoted == 0 && waiting >= stock.freeUnits ? 0 : min(waiting, stock.pool)
            stock.pool -= claimed
            if stock.freeUnits > 0 || claimed == 0 {
                stock.grant(to: partition, wanted: shortage.wanted, partitions: Int64(Topic.orders.partitions))
            }
            stock.pool += claimed
            if stock != locked.stock { step.transaction.finish(self.stocks.save(stock, shortage.key)) }
            return promoted > 0 && waiting > 0
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

    /// Puts what these orders held back into the stocks, with the step's commit.
    /// - Parameters:
    ///   - orders: held units.
    ///   - waiting: held places on the waitlist.
    func giveBack(_ orders: [ChangedOrder], waiting: [ChangedOrder] = [], _ step: Step) {
        if orders.isEmpty && waiting.isEmpty { return }
        var units: [StockKey: Int64] = [:]
        for order in orders { units[order.key, default: 0] += 1 }
        var places: [StockKey: Int64] = [:]
        for order in waiting { places[order.key, default: 0] += 1 }
        step.transaction.finish(stocks.giveBack(units: units, places: places))
        if !orders.isEmpty { look() }
    }

    /// Ends orders that their buyers took back; the transaction holds them locked. Their units go to the pool.
    /// - Parameter orders: with each whether it holds a unit; it waits otherwise.
    func cancel(_ orders: [OrderID: Bool], causes: [OrderID: TraceContext] = [:], _ step: Step) async throws {
        let ended = try await settlement.end(orders.keys.sorted(), step.transaction)
        publishReleased(ended, reason: .cancelled, causes: causes, step)
        giveBack(
            ended.filter { orders[$0.line.orderId] == true },
            waiting: ended.filter { orders[$0.line.orderId] == false }, step)
    }

    private func publish(_ availability: Availability, cause: TraceContext? = nil, _ step: Step) {
        switch availability {
        case .soldOut(let event, let number):
            step.publish(
                .reservations, key: event.saleId,
                id: "\(event.saleId)/\(event.batch)/\(event.variant)/soldout/\(number)", event, cause: cause)
        case .available(let event, let number):
            step.publish(
                .reservations, key: event.saleId,
                id: "\(event.saleId)/\(event.batch)/\(event.variant)/available/\(number)", event, cause: cause)
        }
    }

    // MARK: What the keeper does by itself

    /// Everything once. Each stock by itself: one that fails does not keep the others waiting, nor does one with a lot
    /// to do, which gets its next turn behind them.
    private func round(_ failures: Failures) async {
        failures.begin()
        for saleId in untaken.withLock({ $0 }) {
            await failures.attempt("take a sale's supply over", "\(saleId)") {
                try await take(saleId)
                untaken.withLock { _ = $0.remove(saleId) }
            }
        }
        var hasMore = false
        await failures.attempt("end orders whose cancellations came first") { hasMore = try await endMissed() }
        var keys: [StockKey] = []
        await failures.attempt("look for holds that ran out") {
            keys = try await settlement.overdue(before: overdue(at: context.now()), context.postgres)
        }
        for key in keys {
            await failures.attempt("release holds that ran out", "\(key)") {
                if try await expire(key) { hasMore = true }
            }
        }
        keys = []
        await failures.attempt("look for stocks to attend to") {
            keys = try await stocks.unattended(at: context.now(), context.postgres)
            if !hasLookedBack.load(ordering: .relaxed) {
                keys += try await stocks.returnedUnnoted(at: context.now(), context.postgres)
                hasLookedBack.store(true, ordering: .relaxed)
            }
        }
        for key in keys {
            await failures.attempt("promote the waitlist", "\(key)") { if try await attend(key) { hasMore = true } }
        }
        failures.end()
        if hasMore { look() }
    }

    /// Holds that ended before this are over. A hold was given by an instance's clock and is ended by an instance's
    /// clock, which tests may move; the grace is more than two clocks may differ.
    private func overdue(at now: Timestamp) -> Timestamp { now.adding(seconds: -Self.expiryGraceSeconds) }

    /// Releases holds that ran out; true when there may be more.
    private func expire(_ key: StockKey) async throws -> Bool {
        try await relay.commit { step in
            let overdue = try await self.settlement.lockOverdue(
                key, before: self.overdue(at: step.now), step.transaction)
            let expired = try await self.settlement.end(overdue, step.transaction)
            self.publishReleased(expired, reason: .expired, step)
            self.giveBack(expired, step)
            return expired.count == SettlementStorage.expiredMax
        }
    }

    /// Ends orders that were decided in the same moment in which their cancellations were put down; true when there may be
    /// more.
    private func endMissed() async throws -> Bool {
        guard try await early.isAnyOpen(context.postgres) else { return false }
        try await relay.commit { step in
            try await self.cancel(try await self.early.lockMissed(step.transaction), step)
        }
        return try await early.settle(context.postgres)
    }

    /// Gives what is free to whoever waits, ends the waiting with the batch, and says that a stock is sold out, or is not
    /// any more. True when there may be more.
    private func attend(_ key: StockKey) async throws -> Bool {
        let (hasMore, isSoldOut) = try await relay.commit { step in
            guard let locked = try await self.stocks.lock(key, at: step.now, step.transaction) else {
                return (false, false)
            }
            var (changed, waiting): (Int64, Int64) = (0, 0)
            if locked.isClosed {
                changed = try await self.endWaiting(key, step)
            } else {
                var stock = locked.stock
                (changed, waiting) = try await self.promote(key, &stock, step)
                if stock != locked.stock { _ = try await step.transaction.pipeline(self.stocks.save(stock, key)) }
            }
            let hasMore = changed == StockStorage.changedMax
            // What is free is theirs who wait.
            if waiting > 0 { return (hasMore, false) }
            guard let news = try await self.stocks.settleAvailability(key, at: step.now, step.transaction) else {
                return (hasMore, false)
            }
            var (isSoldOut, cause): (Bool, TraceContext?) = (false, nil)
            if case .soldOut = news { (isSoldOut, cause) = (true, self.lastOrders.withLock { $0[key] }) }
            self.publish(news, cause: cause, step)
            return (hasMore, isSoldOut)
        }
        if isSoldOut { lastOrders.withLock { _ = $0.removeValue(forKey: key) } }
        return hasMore
    }

    /// Gives free units, those in leases too, to whoever waits. What is left while somebody waits on is in the pool: no
    /// partition gives it to who comes later.
    private func promote(
        _ key: StockKey, _ stock: inout LeasedStock, sent partition: Int32? = nil, _ step: Step
    ) async throws -> (promoted: Int64, waiting: Int64) {
        let free = stock.freeUnits
        guard free > 0 else { return (0, 0) }
        let (orders, waiting) = try await stocks.promote(
            key, units: free, at: step.now, sent: partition, step.transaction)
        let promoted = Int64(orders.count)
        if promoted + waiting > 0 {
            stock.pool = free - promoted
            stock.places += promoted
            for index in stock.leases.indices { stock.leases[index].units = 0 }
        }
        for order in orders {
            step.publish(
                .reservations, key: order.line.buyerId, id: "\(order.line.orderId)/reserved",
                OrderReserved(
                    line: order.line, price: order.price, holdUntil: order.holdUntil ?? step.now, promoted: true))
        }
        return (promoted, waiting)
    }

    private func endWaiting(_ key: StockKey, _ step: Step) async throws -> Int64 {
        let waiting = try await settlement.lockWaiting(key, step.transaction)
        let ended = try await settlement.end(waiting, step.transaction)
        for order in ended {
            step.publish(
                .reservations, key: order.line.buyerId, id: "\(order.line.orderId)/rejected",
                OrderRejected(line: order.line, reason: .waitlistEnded))
        }
        giveBack([], waiting: ended, step)
        return Int64(ended.count)
    }
}

/// What fails in the keeper's rounds, said when it begins, when it changes and when it is over.
private final class Failures: Sendable {
    private struct State {
        var last: [String: String] = [:]
        var now: [String: String] = [:]
    }

    private let log: Logger
    private let countMax: Int
    private let state = Mutex(State())

    init(log: Logger, atMost count: Int) {
        self.log = log
        countMax = count
    }

    func begin() { state.withLock { $0 = State(last: $0.now) } }

    func attempt(_ what: String, _ whose: String = "", _ body: () async throws -> Void) async {
        do { try await body() } catch {
            if Task.isCancelled { return }
            let (name, reason) = ("\(what) \(whose)", "\(error)")
            let isNew = state.withLock { state in
                if state.now.count < countMax { state.now[name] = reason }
                return state.last[name] != reason
            }
            if isNew {
                log.warning("the stock keeper will try again", ["what": what, "of": whose, "error": reason])
            }
        }
    }

    func end() {
        let over = state.withLock { state in state.last.keys.filter { state.now[$0] == nil } }
        if !over.isEmpty { log.info("the stock keeper goes on", ["what": over.sorted().joined(separator: "; ")]) }
    }
}
