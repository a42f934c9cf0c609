// Decides the orders of the topic `orders`, batch by batch, and takes back what buyers cancel.
import EventPipeline
import JSON
import Models
import Observability
import Postgres
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
    /// Brings the table of sales up to date with its topic.
    let catchUp: @Sendable () async throws -> Void
    let keeper: StockKeeper
    let storage = DecisionStorage()
    let settlement = SettlementStorage()
    let decided: DecisionCounters

    private enum Input: Sendable {
        case placed(OrderPlaced)
        case cancelled(OrderCancelled)
    }

    func apply(_ batch: EventBatch, _ step: Step) async throws {
        let inputs = batch.read(step, only: [OrderPlaced.type, OrderCancelled.type]) {
            (type, json) throws(JSONError) -> Input? in
            type == OrderPlaced.type ? .placed(try OrderPlaced(json: json)) : .cancelled(try OrderCancelled(json: json))
        }
        batch.keep(inputs)
        // A run of orders, or a run of cancellations: whichever comes first. The other waits for the next step.
        var placed: [OrderInLog] = []
        var cancelled: [OrderCancelled] = []
        for input in inputs {
            switch input.value {
            case .placed(let order):
                if !cancelled.isEmpty { return try await end(cancelled, before: input.offset, step) }
                guard input.key.flatMap(AccountID.init(text:)) == order.buyerId else {
                    step.dead(input, reason: "expected the buyer's ID as the key")
                    continue
                }
                placed.append(OrderInLog(order: order, time: input.time, offset: input.offset))
            case .cancelled(let order):
                guard input.key.flatMap(AccountID.init(text:)) == order.buyerId else {
                    step.dead(input, reason: "expected the buyer's ID as the key")
                    continue
                }
                if !placed.isEmpty {
                    step.stop(before: input.offset)
                    return try await decideOrders(placed, inputs, batch, step)
                }
                cancelled.append(order)
            }
        }
        if !cancelled.isEmpty { return try await end(cancelled, before: nil, step) }
        try await decideOrders(placed, inputs, batch, step)
    }

    // MARK: Orders

    private func decideOrders(
        _ placed: [OrderInLog], _ inputs: [Incoming<Input>], _ batch: EventBatch, _ step: Step
    ) async throws {
        var plan = try await plan(placed, inputs, step)
        if plan.orders.isEmpty { return }
        let partition = batch.partition
        let (found, known) = try await storage.begin(
            plan.keys, partition: partition, orders: plan.orders.map(\.order.orderId), step.transaction)
        for (index, key) in plan.keys.enumerated() {
            guard let stock = found[key], stock.revision >= plan.revisions[index] else {
                let sale = sales[key.saleId]
                throw TryAgain { if let sale { try await keeper.take(sale) } }
            }
            plan.stocks[index] = stock.view
        }
        var history = History(decided: known)
        let before = plan.stocks
        if before.contains(where: { !$0.isExhausted }) {
            let (served, refused) = try await storage.history(
                plan.orders.map(\.order), keys: plan.keys, step.transaction)
            history.served = served
            history.decided.formUnion(refused)
        }
        let decisions = decide(
            plan.orders, lines: plan.lines, keys: plan.keys, terms: plan.terms, stocks: &plan.stocks, history: history)
        if let shortage = decisions.shortage {
            // Nothing before it to keep: fetch what is missing now. Otherwise keep what is decided, then fetch.
            guard !decisions.outcomes.isEmpty else {
                throw TryAgain { try await keeper.refill(shortage, partition: partition) }
            }
            step.stop(before: plan.orders[decisions.outcomes.count].offset)
        }
        try keep(decisions.outcomes, plan, inputs, before: before, batch, step)
    }

    /// The orders that can be decided, with the stocks that they are for.
    private struct Plan {
        var orders: [OrderInLog] = []
        var lines: [Int] = []
        var keys: [StockKey] = []
        var terms: [Terms] = []
        var revisions: [Int64] = []
        var stocks: [StockView] = []
    }

    private func plan(_ placed: [OrderInLog], _ inputs: [Incoming<Input>], _ step: Step) async throws -> Plan {
        var plan = Plan()
        plan.orders.reserveCapacity(placed.count)
        var indexes: [StockKey: Int] = [:]
        var hasCaughtUp = false
        for order in placed {
            let key = StockKey(saleId: order.order.saleId, batch: order.order.batch, variant: order.order.variant)
            if let last = plan.lines.last, plan.keys[last] == key {
                plan.lines.append(last)
            } else if let index = indexes[key] {
                plan.lines.append(index)
            } else {
                if sales[key.saleId] == nil, !hasCaughtUp {
                    // The sale may have been published just now: its record is older than this order.
                    try await catchUp()
                    hasCaughtUp = true
                }
                guard let sale = sales[key.saleId], let terms = sale.terms(batch: key.batch, variant: key.variant)
                else {
                    if let input = inputs.first(where: { $0.offset == order.offset }) {
                        step.dead(
                            input,
                            reason: sales[key.saleId] == nil
                                ? "saleId: expected a published sale"
                                : "expected a batch and a variant that the sale offers")
                    }
                    continue
                }
                indexes[key] = plan.keys.count
                plan.lines.append(plan.keys.count)
                plan.keys.append(key)
                plan.terms.append(terms)
                plan.revisions.append(sale.revision)
                plan.stocks.append(StockView(units: 0, places: 0, unitsElsewhere: 0, placesElsewhere: 0))
            }
            plan.orders.append(order)
        }
        return plan
    }

    private func keep(
        _ outcomes: [Outcome], _ plan: Plan, _ inputs: [Incoming<Input>], before: [StockView], _ batch: EventBatch,
        _ step: Step
    ) throws {
        var holdUntil: [Timestamp?] = []
        holdUntil.reserveCapacity(outcomes.count)
        var codes = [UInt8](repeating: 0, count: Int((plan.orders[outcomes.count - 1].offset - batch.firstOffset) + 1))
        for (index, outcome) in outcomes.enumerated() {
            let placed = plan.orders[index]
            codes[Int(placed.offset - batch.firstOffset)] = outcome.rawValue
            holdUntil.append(
                outcome == .reserved ? placed.time.adding(seconds: plan.terms[plan.lines[index]].holdSeconds) : nil)
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
        step.transaction.finish(
            storage.keep(
                plan.orders, outcomes: outcomes, holdUntil: holdUntil, partition: batch.partition, used: used,
                refusals: refusals(plan.orders, lines: plan.lines, keys: plan.keys, outcomes: outcomes)))
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
                buyerId: order.buyerId, brandId: terms.brandId)
            let time = recipe.head.decidedAt
            switch outcome {
            case .none: continue
            case .reserved:
                outgoing.publish(
                    .reservations, key: order.buyerId, subject: order.orderId, "reserved", time: time,
                    OrderReserved(
                        line: line, price: terms.price, holdUntil: event.time.adding(seconds: terms.holdSeconds),
                        promoted: false), cause: event.trace)
            case .waitlisted:
                outgoing.publish(
                    .reservations, key: order.buyerId, subject: order.orderId, "waitlisted", time: time,
                    OrderWaitlisted(line: line), cause: event.trace)
            case .soldOut, .limitReached, .notOpen, .closed:
                guard let reason = outcome.refusal else { continue }
                outgoing.publish(
                    .reservations, key: order.buyerId, subject: order.orderId, "rejected", time: time,
                    OrderRejected(line: line, reason: reason), cause: event.trace)
            }
        }
    }

    // MARK: Cancellations

    private func end(_ cancelled: [OrderCancelled], before offset: Int64?, _ step: Step) async throws {
        if let offset { step.stop(before: offset) }
        let ended = try await settlement.cancel(
            cancelled.map { ($0.orderId, $0.buyerId) }, step.transaction)
        keeper.publishReleased(ended.map(\.order), reason: .cancelled, step)
        keeper.giveBack(
            ended.filter(\.heldUnit).map(\.order), waiting: ended.filter { !$0.heldUnit }.map(\.order), step)
    }
}
