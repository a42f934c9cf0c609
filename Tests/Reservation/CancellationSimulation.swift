// Orders and their cancellations, applied in any order and in the same moment, against what Postgres shows of them to each
// transaction. What is decided is decided by the product; what is simulated are its statements and Postgres's numbers.
import Models
import TestSupport

@testable import ReservationCore

/// One seed's world, from its first record until no cancellation is open. Single-threaded; time is in milliseconds.
final class CancellationSimulation {
    /// Parts of what `EarlyCancellations` promises; a test can take one away, to see that it is missed.
    struct Flaws: OptionSet {
        let rawValue: Int
        /// A cancellation whose order is not there is ignored.
        static let ignoresEarly = Flaws(rawValue: 1)
        /// A decision takes its number after it has looked for cancellations.
        static let numberBehindLook = Flaws(rawValue: 2)
        /// A cancellation is settled when its order is not there for the first time.
        static let settlesAtOnce = Flaws(rawValue: 4)
        /// It is settled when those have ended that are below the last number that had ended.
        static let waitsForEndedOnly = Flaws(rawValue: 8)
        /// An order that was decided after its cancellation had looked for it counts as over.
        static let overIsWhatWasDecided = Flaws(rawValue: 16)
    }

    private enum Record {
        case placed(OrderOfBuyer)
        case cancelled(OrderOfBuyer)
    }

    private struct Row {
        let order: OrderOfBuyer
        var isLive: Bool
        var isLocked = false
    }

    private struct Early {
        let number: Int
        let order: OrderOfBuyer
        var missedBelow: Int?
        var isSettled = false
        var isLocked = false
    }

    private let flaws: Flaws
    private var random: SeededRandom
    private var agenda = Agenda()
    private var now = 0
    private var violation: String?

    private var logs: [[Record]]
    private var next: [Int]
    private var leases: [StockView]
    private var pool: Int64 = 0
    private var orders: [OrderID: Row] = [:]
    private var early: [Early] = []
    private var earlyEver = 0

    // Postgres's transaction numbers.
    private var nextNumber = 1
    private var lastEnded = 0
    private var running: Set<Int> = []

    private static let unitsOfPartition: Int64 = 1000
    private static let restAt = 60_000
    private static let lostPerMille = 50
    private static let key = StockKey(saleId: SaleID(high: 1, low: 1), batch: 1, variant: "mi3")
    private static let terms = Terms(
        brandId: AccountID(high: 9, low: 9), price: Money(199_900, .cny), holdSeconds: 600, opensAt: .distantPast)

    init(seed: UInt64, flaws: Flaws = []) {
        self.flaws = flaws
        random = SeededRandom(seed: seed)
        let partitions = random.int(in: 2...3)
        logs = Array(repeating: [], count: partitions)
        next = Array(repeating: 0, count: partitions)
        leases = Array(
            repeating: StockView(units: Self.unitsOfPartition, places: 0, unitsElsewhere: 0, placesElsewhere: 0),
            count: partitions)
        write()
    }

    /// Orders, their cancellations by whom it may be and by others, and some of both twice, shuffled.
    private func write() {
        let publishers: [PublisherName?] = [nil, .messaging, PublisherName("partner")]
        var records: [Record] = []
        for number in 1...random.int(in: 2...8) {
            let order = OrderOfBuyer(
                orderId: OrderID(high: 2, low: UInt64(number)), buyerId: AccountID(high: 3, low: UInt64(number)),
                publisher: random.pick(publishers))
            records.append(.placed(order))
            if chance(200) { records.append(.placed(order)) }
            guard chance(800) else { continue }
            var cancellation = order
            if chance(300) { cancellation.publisher = random.pick(publishers) }
            records.append(.cancelled(cancellation))
            if chance(100) { records.append(.cancelled(cancellation)) }
        }
        records.shuffle(using: &random)
        for record in records { logs[random.int(in: 0...logs.count - 1)].append(record) }
    }

    // MARK: Running

    /// Nil when everything held.
    func run() -> String? {
        for partition in logs.indices { after(random.int(in: 0...20)) { self.begin(partition) } }
        for _ in 0..<random.int(in: 1...2) { after(random.int(in: 0...20)) { self.round() } }
        while violation == nil, let (at, action) = agenda.next() {
            now = at
            action()
            if isAtRest { break }
            if now > Self.restAt { fail("does not come to rest") }
        }
        if violation == nil { checkTheEnd() }
        return violation
    }

    private var isAtRest: Bool {
        zip(logs, next).allSatisfy { $0.count == $1 } && early.allSatisfy(\.isSettled) && running.isEmpty
    }

    private func checkTheEnd() {
        let cancelled = logs.joined().compactMap { if case .cancelled(let order) = $0 { order } else { nil } }
        for case .placed(let placed) in logs.joined() {
            let isTakenBack = cancelled.contains {
                $0.orderId == placed.orderId && $0.publisher.mayCancel(orderOf: placed.publisher)
            }
            if orders[placed.orderId]?.isLive != !isTakenBack {
                fail(
                    "order \(placed.orderId.low) of \(placed.publisher?.text ?? "nobody"), cancelled: \(isTakenBack), ends as "
                        + "\(orders[placed.orderId].map { $0.isLive ? "reserved" : "released" } ?? "undecided")")
            }
        }
        let units = leases.reduce(pool) { $0 + $1.units } + Int64(orders.values.count(where: \.isLive))
        if units != Self.unitsOfPartition * Int64(leases.count) { fail("\(units) units are left or sold") }
    }

    private func fail(_ what: String) { if violation == nil { violation = "\(what) (at \(now) ms)" } }
    private func chance(_ perMille: Int) -> Bool { random.int(in: 0...999) < perMille }
    private func after(_ delay: Int, _ action: @escaping () -> Void) { agenda.add(at: now + delay, action) }
    /// From one statement to the next.
    private func then(_ action: @escaping () -> Void) {
        after(chance(100) ? random.int(in: 20...400) : random.int(in: 0...3), action)
    }

    // MARK: Postgres's numbers

    private func takeNumber() -> Int {
        running.insert(nextNumber)
        nextNumber += 1
        return nextNumber - 1
    }

    private func end(_ number: Int) {
        running.remove(number)
        lastEnded = max(lastEnded, number)
    }

    /// `pg_snapshot_xmax`: those that run may be beyond it.
    private var ahead: Int { lastEnded + 1 }
    /// `pg_snapshot_xmin`: whatever is below has ended.
    private var oldest: Int { min(running.min() ?? ahead, ahead) }

    // MARK: A batch, as OrderDecisions and DecisionStorage apply it

    private final class Batch {
        let partition: Int
        var placed: [OrderInLog] = []
        var cancellations: [CancellationInLog] = []
        var number: Int?
        var locked: [OrderID] = []
        var history = History()
        init(_ partition: Int) { self.partition = partition }
    }

    private func begin(_ partition: Int) {
        let first = next[partition]
        guard first < logs[partition].count else { return }
        let batch = Batch(partition)
        let last = min(first + random.int(in: 1...4), logs[partition].count)
        for offset in first..<last {
            switch logs[partition][offset] {
            case .placed(let order):
                batch.placed.append(
                    OrderInLog(
                        order: OrderPlaced(
                            orderId: order.orderId, saleId: Self.key.saleId, batch: Self.key.batch,
                            variant: Self.key.variant, buyerId: order.buyerId),
                        time: Timestamp(seconds: 1), offset: Int64(offset), publisher: order.publisher))
            case .cancelled(let order):
                batch.cancellations.append(
                    CancellationInLog(order: order, time: Timestamp(seconds: 1), offset: Int64(offset)))
            }
        }
        if !flaws.contains(.numberBehindLook) { batch.number = takeNumber() }
        then { self.lock(batch) }
    }

    private func lock(_ batch: Batch) {
        let named = Set(batch.cancellations.map(\.order.orderId))
        if named.contains(where: { orders[$0]?.isLocked == true }) { return after(2) { self.lock(batch) } }
        for id in named {
            guard let row = orders[id] else { continue }
            orders[id]?.isLocked = true
            batch.locked.append(id)
            batch.history.decided.insert(id)
            if !row.isLive {
                batch.history.over.insert(id)
            } else {
                batch.history.live[id] = LiveOrder(
                    buyer: SaleBuyer(saleId: Self.key.saleId, buyerId: row.order.buyerId), key: Self.key,
                    hasUnit: true, publisher: row.order.publisher)
            }
        }
        then { self.lookForOrders(batch) }
    }

    private func lookForOrders(_ batch: Batch) {
        batch.history.decided.formUnion(batch.placed.map(\.order.orderId).filter { orders[$0] != nil })
        then { self.lookForCancellations(batch) }
    }

    private func lookForCancellations(_ batch: Batch) {
        let ids = Set(batch.placed.map(\.order.orderId))
        batch.history.cancelled = Set(early.map(\.order).filter { ids.contains($0.orderId) })
        then { self.finish(batch) }
    }

    private func finish(_ batch: Batch) {
        let number = batch.number ?? takeNumber()
        if flaws.contains(.overIsWhatWasDecided) { batch.history.over.formUnion(batch.history.decided) }
        let partition = batch.partition
        var stocks = [leases[partition]]
        let decisions = decide(
            batch.placed, lines: batch.placed.map { _ in 0 }, keys: [Self.key], terms: [Self.terms], stocks: &stocks,
            cancellations: batch.cancellations, history: batch.history)
        then { [self] in
            defer {
                for id in batch.locked { orders[id]?.isLocked = false }
                end(number)
                then { self.begin(partition) }
            }
            let isTwice = zip(batch.placed, decisions.outcomes).contains {
                $1 != .none && orders[$0.order.orderId] != nil
            }
            if isTwice || chance(Self.lostPerMille) { return }
            leases[partition].units = stocks[0].units
            for (placed, outcome) in zip(batch.placed, decisions.outcomes) where outcome != .none {
                let order = OrderOfBuyer(
                    orderId: placed.order.orderId, buyerId: placed.order.buyerId, publisher: placed.publisher)
                orders[order.orderId] = Row(order: order, isLive: outcome == .reserved)
            }
            for id in decisions.ended { release(id) }
            if !batch.history.cancelled.isEmpty {
                let came = zip(batch.placed, decisions.outcomes).filter { $1 == .cancelled }.map(\.0.order.orderId)
                early.removeAll { came.contains($0.order.orderId) }
            }
            if !flaws.contains(.ignoresEarly) {
                for new in decisions.early where !early.contains(where: { $0.order == new.order }) {
                    earlyEver += 1
                    early.append(Early(number: earlyEver, order: new.order))
                }
            }
            next[partition] += batch.placed.count + batch.cancellations.count
        }
    }

    private func release(_ id: OrderID) {
        if orders[id]?.isLive != true { fail("order \(id.low) is released twice") }
        orders[id]?.isLive = false
        pool += 1
    }

    // MARK: A round of the keeper

    private func round() {
        let missed = early.filter { !$0.isSettled }.flatMap { cancellation in
            orders.keys.sorted().filter { isLive($0, for: cancellation) && orders[$0]?.isLocked == false }
        }
        let ids = Set(missed).sorted()
        for id in ids { orders[id]?.isLocked = true }
        let number = takeNumber()
        then { [self] in
            let isLost = chance(Self.lostPerMille)
            for id in ids {
                if !isLost { release(id) }
                orders[id]?.isLocked = false
            }
            end(number)
            then { self.settle() }
        }
    }

    private func isLive(_ id: OrderID, for cancellation: Early) -> Bool {
        guard let row = orders[id], row.isLive, id == cancellation.order.orderId else { return false }
        return row.order.buyerId == cancellation.order.buyerId
            && cancellation.order.publisher.mayCancel(orderOf: row.order.publisher)
    }

    /// What it sees is from before it has its number.
    private func settle() {
        let (oldest, ahead) = (oldest, ahead)
        let found = early.filter { cancellation in
            if cancellation.isSettled || cancellation.isLocked { return false }
            guard let below = cancellation.missedBelow else { return true }
            return below <= oldest && !orders.keys.contains { isLive($0, for: cancellation) }
        }
        let number = takeNumber()
        let mark = flaws.contains(.waitsForEndedOnly) ? ahead : number
        for index in early.indices where found.contains(where: { $0.number == early[index].number }) {
            early[index].isLocked = true
        }
        then { [self] in
            let isLost = chance(Self.lostPerMille)
            for index in early.indices where found.contains(where: { $0.number == early[index].number }) {
                early[index].isLocked = false
                if isLost { continue }
                early[index].isSettled = early[index].missedBelow != nil || flaws.contains(.settlesAtOnce)
                early[index].missedBelow = early[index].missedBelow ?? mark
            }
            end(number)
            after(random.int(in: 20...200)) { self.round() }
        }
    }
}
