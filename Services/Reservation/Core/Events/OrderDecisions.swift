// Decides the orders of the topic `orders`, batch by batch, and takes back what buyers cancel.
import EventPipeline
import JSON
import Models
import Observability
import Postgres
import Security
import ServiceKit

/// Decided orders, by what became of them.
struct DecisionCounters: Sendable {
    private let counters: [Counter]

    init(_ metrics: Metrics) {
        counters = Outcome.allCases.filter { $0 != .none }.map {
            metrics.counter(
                "stampede_orders_decided_total", help: "Orders decided, by outcome", labels: ["outcome": "\($0)"])
        }
    }

    func count(_ outcomes: [Outcome], _ step: Step) {
        var counts = [Int](repeating: 0, count: counters.count)
        for outcome in outcomes where outcome != .none { counts[Int(outcome.rawValue) - 1] += 1 }
        for (counter, count) in zip(counters, counts) where count > 0 { step.count(counter, count) }
    }
}

struct OrderDecisions: EventHandler {
    let sales: SaleTable
    let search: SaleSearch
    let keeper: StockKeeper
    let refused: RefusedOrders
    let publishers: PublisherKeys
    let storage = DecisionStorage()
    let early = EarlyCancellations()
    let decided: DecisionCounters

    private enum Input: Sendable {
        case placed(OrderPlaced)
        case cancelled(OrderCancelled)

        var buyerId: AccountID {
            switch self {
            case .placed(let order): order.buyerId
            case .cancelled(let order): order.buyerId
            }
        }
    }

    func apply(_ batch: EventBatch, _ step: Step) async throws {
        let inputs = batch.read(step, only: [OrderPlaced.type, OrderCancelled.type]) {
            (type, json) throws(JSONError) -> Input? in
            type == OrderPlaced.type ? .placed(try OrderPlaced(json: json)) : .cancelled(try OrderCancelled(json: json))
        }
        batch.keep(inputs)
        var plan = try plan(inputs, batch)
        if !plan.unknown.isEmpty {
            // Asked for in the transaction, so that whoever makes sales up costs one statement a batch.
            let former = try await storage.formerTerms(Array(plan.unknown), step.transaction)
            plan = try self.plan(inputs, batch, former: former)
        }
        for (input, reason) in plan.dead { step.dead(input, reason: reason) }
        if plan.orders.isEmpty && plan.cancellations.isEmpty { return }
        let partition = batch.partition
        let ids = plan.orders.map(\.order.orderId)
        let situation = try await storage.begin(
            plan.keys, partition: partition, orders: ids, cancellations: plan.cancellations, step.transaction)
        for (index, key) in plan.keys.enumerated() {
            let stock = situation.stocks[key]
            if let revision = plan.revisions[index], stock.map({ $0.revision < revision }) ?? true {
                let sale = sales[key.saleId]
                throw TryAgain { if let sale { try await keeper.take(sale) } }
            }
            if let stock { plan.stocks[index] = stock.view }
        }
        try await refused.follow(partition, situation.refused, storage, step)
        var history = History(
            decided: situation.decided, live: situation.live, over: situation.over, cancelled: situation.cancelled)
        history.decided.formUnion(refused.known(ids, partition))
        history.over.formUnion(refused.known(plan.cancellations.lazy.map(\.order.orderId), partition))
        let before = plan.stocks
        if before.contains(where: { !$0.isExhausted }) {
            history.served = try await storage.served(plan.orders.map(\.order), step.transaction)
        }
        let decisions = decide(
            plan.orders, lines: plan.lines, keys: plan.keys, terms: plan.terms, stocks: &plan.stocks,
            cancellations: plan.cancellations, history: history)
        if let shortage = decisions.shortage {
            // Nothing before it to keep: fetch what is missing now. Otherwise keep what is decided, then fetch.
            // A cancellation before it may be what frees a unit: that has to be kept first.
            guard !decisions.outcomes.isEmpty || !decisions.ended.isEmpty || !decisions.early.isEmpty else {
                throw TryAgain { try await keeper.refill(shortage, partition: partition) }
            }
            step.stop(before: plan.orders[decisions.outcomes.count].offset)
        }
        try await end(decisions.ended, of: situation.live, inputs, step)
        let came = zip(plan.orders, decisions.outcomes).filter { $1 == .cancelled }.map(\.0.order.orderId)
        step.transaction.finish(
            early.keep(decisions.early, came: situation.cancelled.isEmpty ? [] : came))
        try keep(decisions.outcomes, plan, inputs, before: before, batch, step)
    }

    /// What can be decided, in the order of the log, with the stocks that the orders are for.
    private struct Plan {
        var orders: [OrderInLog] = []
        var cancellations: [CancellationInLog] = []
        var lines: [Int] = []
        var keys: [StockKey] = []
        var terms: [Terms] = []
        /// Of the sale that the terms are from; nil where it was withdrawn: then its stocks need not be there.
        var revisions: [Int64?] = []
        var stocks: [StockView] = []
        /// Stocks of sales that are not published, and were not withdrawn since the program began.
        var unknown: Set<StockKey> = []
        var dead: [(Incoming<Input>, reason: String)] = []
    }

    /// - Parameter former: the terms of what was unknown, where it was for sale once; nil before that was asked for.
    private func plan(
        _ inputs: [Incoming<Input>], _ batch: EventBatch, former: [StockKey: Terms]? = nil
    ) throws -> Plan {
        var plan = Plan()
        plan.orders.reserveCapacity(inputs.count)
        var indexes: [StockKey: Int] = [:]
        for input in inputs {
            guard input.key.flatMap(AccountID.init(text:)) == input.value.buyerId else {
                plan.dead.append((input, "expected the buyer's ID as the key"))
                continue
            }
            let publisher: PublisherName?
            switch input.provenance(publishers) {
            case .unsigned: publisher = nil
            case .proven(let name): publisher = name
            case .forged:
                plan.dead.append(
                    (input, "\(PublisherKey.header): expected a publisher's proof for this record, or no such header"))
                continue
            }
            let order: OrderPlaced
            switch input.value {
            case .placed(let placed): order = placed
            case .cancelled(let cancelled):
                plan.cancellations.append(
                    CancellationInLog(
                        order: OrderOfBuyer(
                            orderId: cancelled.orderId, buyerId: cancelled.buyerId, publisher: publisher),
                        time: input.time, offset: input.offset))
                continue
            }
            let key = StockKey(saleId: order.saleId, batch: order.batch, variant: order.variant)
            if let last = plan.lines.last, plan.keys[last] == key {
                plan.lines.append(last)
            } else if let index = indexes[key] {
                plan.lines.append(index)
            } else {
                let published = sales[key.saleId]
                if let sale = published ?? sales.withdrawn(key.saleId) {
                    guard let terms = sale.terms(batch: key.batch, variant: key.variant) else {
                        plan.dead.append((input, "expected a batch and a variant that the sale offers"))
                        continue
                    }
                    plan.terms.append(published == nil ? terms.ended : terms)
                } else {
                    // It may have been published just now: its record is older than this order.
                    guard search.isComplete(for: input.offset, of: batch.partition, at: input.time) else {
                        let (partition, next) = (batch.partition, batch.nextOffset)
                        throw TryAgain { try await search.complete(before: next, of: partition) }
                    }
                    guard let former else {
                        plan.unknown.insert(key)
                        continue
                    }
                    guard let terms = former[key] else {
                        plan.dead.append((input, "saleId: expected a published sale"))
                        continue
                    }
                    plan.terms.append(terms.ended)
                }
                indexes[key] = plan.keys.count
                plan.lines.append(plan.keys.count)
                plan.keys.append(key)
                plan.revisions.append(published?.revision)
                plan.stocks.append(StockView(units: 0, places: 0, unitsElsewhere: 0, placesElsewhere: 0))
            }
            plan.orders.append(
                OrderInLog(order: order, time: input.time, offset: input.offset, publisher: publisher))
        }
        return plan
    }

    private func keep(
        _ outcomes: [Outcome], _ plan: Plan, _ inputs: [Incoming<Input>], before: [StockView], _ batch: EventBatch,
        _ step: Step
    ) throws {
        if outcomes.isEmpty { return }
        var holdUntil: [Timestamp?] = []
        holdUntil.reserveCapacity(outcomes.count)
        var codes = [UInt8](repeating: 0, count: Int((plan.orders[outcomes.count - 1].offset - batch.firstOffset) + 1))
        for (index, outcome) in outcomes.enumerated() {
            let placed = plan.orders[index]
            codes[Int(placed.offset - batch.firstOffset)] = outcome.rawValue
            holdUntil.append(
                outcome == .reserved ? step.now.adding(seconds: plan.terms[plan.lines[index]].holdSeconds) : nil)
        }
        var used: [StockKey: StockView] = [:]
        for (index, key) in plan.keys.enumerated() where plan.stocks[index] != before[index] {
            used[key] = plan.stocks[index]
            if plan.stocks[index].units == 0 && plan.stocks[index].unitsElsewhere == 0 {
                let last = outcomes.indices.last { outcomes[$0] == .reserved && plan.lines[$0] == index }
                let offset = last.map { plan.orders[$0].offset }
                keeper.look(key, lastOrder: inputs.last { $0.offset == offset }?.trace)
            }
        }
        let refusals = refusals(plan.orders, lines: plan.lines, keys: plan.keys, outcomes: outcomes)
        step.transaction.finish(
            storage.keep(
                plan.orders, outcomes: outcomes, holdUntil: holdUntil, partition: batch.partition, used: used,
                refusals: refusals))
        if let through = refusals.map(\.lastOffset).max() {
            refused.expect(refusals.flatMap(\.orderIds), through: through, batch.partition)
            step.transaction.finish(storage.hold(refused.holder, batch.partition, through: through))
        }
        let lines = zip(plan.keys, plan.terms).map {
            Decided.Line(
                saleId: $0.saleId, batch: $0.batch, variant: $0.variant, brandId: $1.brandId, price: $1.price,
                holdSeconds: $1.holdSeconds)
        }
        let recipe = Recipe(
            head: Decided(lines: lines, decidedAt: step.now), firstOffset: batch.firstOffset, codes: codes)
        step.publish(rendering: try recipe.encoded())
        decided.count(outcomes, step)
    }

    func render(_ batch: EventBatch, recipe bytes: [UInt8], into outgoing: inout Outgoing) throws {
        let recipe = try Recipe<Decided>(encoded: bytes)
        let lines = Dictionary(
            recipe.head.lines.map { (StockKey(saleId: $0.saleId, batch: $0.batch, variant: $0.variant), $0) },
            uniquingKeysWith: { first, _ in first })
        var last: (key: StockKey, line: Decided.Line)?
        let inputs = batch.kept(Input.self) ?? batch.events(of: OrderPlaced.self).map { $0.map(Input.placed) }
        for event in inputs {
            guard case .placed(let order) = event.value else { continue }
            guard let outcome = recipe.code(at: event.offset).flatMap(Outcome.init), outcome != .none else { continue }
            let key = StockKey(saleId: order.saleId, batch: order.batch, variant: order.variant)
            if last?.key != key { last = lines[key].map { (key, $0) } }
            guard let terms = last?.line else { continue }
            let line = OrderLine(
                orderId: order.orderId, saleId: order.saleId, batch: order.batch, variant: order.variant,
                buyerId: order.buyerId, brandId: terms.brandId,
                // What was decided had its proof checked.
                publisher: event.claimedPublisher)
            let time = recipe.head.decidedAt
            switch outcome {
            case .none: continue
            case .reserved:
                outgoing.publish(
                    .reservations, key: order.buyerId, subject: order.orderId, "reserved", time: time,
                    OrderReserved(
                        line: line, price: terms.price, holdUntil: time.adding(seconds: terms.holdSeconds),
                        promoted: false),
                    cause: event.trace)
            case .waitlisted:
                outgoing.publish(
                    .reservations, key: order.buyerId, subject: order.orderId, "waitlisted", time: time,
                    OrderWaitlisted(line: line), cause: event.trace)
            case .cancelled:
                outgoing.publish(
                    .reservations, key: order.buyerId, subject: order.orderId, "released", time: time,
                    OrderReleased(line: line, reason: .cancelled), cause: event.trace)
            case .soldOut, .limitReached, .notOpen, .closed:
                guard let reason = outcome.refusal else { continue }
                outgoing.publish(
                    .reservations, key: order.buyerId, subject: order.orderId, "rejected", time: time,
                    OrderRejected(line: line, reason: reason), cause: event.trace)
            }
        }
    }

    // MARK: Cancellations

    /// Ends orders of earlier batches that their buyers took back. Their units go to the pool.
    private func end(
        _ ids: [OrderID], of live: [OrderID: LiveOrder], _ inputs: [Incoming<Input>], _ step: Step
    ) async throws {
        if ids.isEmpty { return }
        var causes: [OrderID: TraceContext] = [:]
        for input in inputs {
            if case .cancelled(let order) = input.value, let trace = input.trace { causes[order.orderId] = trace }
        }
        let holding = Dictionary(uniqueKeysWithValues: ids.map { ($0, live[$0]?.hasUnit == true) })
        try await keeper.cancel(holding, causes: causes, step)
    }
}
