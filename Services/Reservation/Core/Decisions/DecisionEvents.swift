// Topic `orders`: each batch is decided, and what buyers cancel is taken back.
import EventPipeline
import JSON
import Models
import Observability

struct DecisionEvents: EventHandler {
    let planner: DecisionPlanner
    let refused: RefusedOrders
    let stocks: StockCommands
    let settlement: SettlementCommands
    let alerts: StockAlerts
    let decided: DecisionCounters

    func apply(_ batch: EventBatch, _ unit: UnitOfWork) async throws {
        let alike = AlikeOrders()
        let inputs = batch.read(
            unit, only: [OrderPlaced.type, OrderCancelled.type],
            known: { (type, body) -> OrderInput? in
                type == OrderPlaced.type ? alike.order(body).map { .placed($0) } : nil
            }
        ) { (type, json, body) throws(JSONError) -> OrderInput? in
            guard type == OrderPlaced.type else { return .cancelled(try OrderCancelled(json: json)) }
            let order = try OrderPlaced(json: json)
            if let body { alike.learn(order, json, of: body) }
            return .placed(order)
        }
        var plan = try planner.plan(inputs, batch)
        if !plan.unknown.isEmpty {
            // Asked for in the transaction, so that whoever makes sales up costs one statement a batch.
            let former = try DecisionStatements.termsRow.all(
                try await unit.transaction.query(DecisionStatements.formerTerms(Array(plan.unknown))))
            plan = try planner.plan(
                inputs, batch, former: Dictionary(former.map { ($0.key, $0.terms) }, uniquingKeysWith: { $1 }))
        }
        for (input, reason) in plan.dead { unit.dead(input, reason: reason) }
        batch.keep(AnsweredOrders(orders: plan.orders, traces: plan.traces))
        if plan.orders.isEmpty && plan.cancellations.isEmpty { return }
        let partition = batch.partition
        let ids = plan.orders.map(\.order.orderId)
        let situation = try await Situation(
            of: plan.keys, partition: partition, orders: ids, cancellations: plan.cancellations, unit.transaction)
        for (index, key) in plan.keys.enumerated() {
            let stock = situation.stocks[key]
            if let revision = plan.revisions[index], stock.map({ $0.revision < revision }) ?? true {
                let sale = planner.sales[key.saleId]
                throw TryAgain { if let sale { try await stocks.takeOver(sale) } }
            }
            if let stock { plan.stocks[index] = stock.view }
        }
        try await refused.follow(partition, situation.refused, unit)
        var history = History(
            decided: situation.decided, live: situation.live, over: situation.over, cancelled: situation.cancelled)
        history.decided.formUnion(refused.known(ids, partition))
        history.over.formUnion(refused.known(plan.cancellations.lazy.map(\.order.orderId), partition))
        let before = plan.stocks
        // Asked only while there is something to give.
        if before.contains(where: { !$0.isExhausted }) {
            history.served = Set(
                try DecisionStatements.servedRow.all(
                    try await unit.transaction.query(DecisionStatements.served(plan.orders.map(\.order)))))
        }
        let decisions = decide(
            plan.orders, lines: plan.lines, keys: plan.keys, terms: plan.terms, stocks: &plan.stocks,
            cancellations: plan.cancellations, history: history)
        if !decisions.shortages.isEmpty {
            // Nothing before it to keep: fetch what is missing now. Otherwise keep what is decided, then fetch.
            // A cancellation before it may be what frees a unit: that has to be kept first.
            guard !decisions.outcomes.isEmpty || !decisions.ended.isEmpty || !decisions.early.isEmpty else {
                throw TryAgain { try await stocks.refill(decisions.shortages, partition: partition) }
            }
            unit.stop(before: plan.orders[decisions.outcomes.count].offset)
        }
        try await end(decisions.ended, of: situation.live, inputs, unit)
        if !situation.cancelled.isEmpty {
            let came = zip(plan.orders, decisions.outcomes).filter { $1 == .cancelled }.map(\.0.order.orderId)
            if !came.isEmpty { unit.transaction.finish(EarlyCancellationStatements.forget(came)) }
        }
        if !decisions.early.isEmpty {
            unit.transaction.finish([
                EarlyCancellationStatements.remember(decisions.early),
                EarlyCancellationStatements.bound(Set(decisions.early.map(\.order.buyerId))),
            ])
        }
        try keep(decisions.outcomes, plan, inputs, before: before, batch, unit)
    }

    func render(_ batch: EventBatch, deferred: [UInt8], into outgoing: inout Outgoing) throws {
        try DecisionAnswers.render(batch, deferred: deferred, into: &outgoing)
    }

    private func keep(
        _ outcomes: [Outcome], _ plan: DecisionPlan, _ inputs: [Incoming<OrderInput>], before: [StockView],
        _ batch: EventBatch, _ unit: UnitOfWork
    ) throws {
        if outcomes.isEmpty { return }
        var holdUntil: [Timestamp?] = []
        holdUntil.reserveCapacity(outcomes.count)
        var codes = [UInt8](repeating: 0, count: Int((plan.orders[outcomes.count - 1].offset - batch.firstOffset) + 1))
        for (index, outcome) in outcomes.enumerated() {
            let placed = plan.orders[index]
            codes[Int(placed.offset - batch.firstOffset)] = outcome.rawValue
            holdUntil.append(
                outcome == .reserved ? unit.now.adding(seconds: plan.terms[plan.lines[index]].holdSeconds) : nil)
        }
        var used: [StockKey: StockView] = [:]
        for (index, key) in plan.keys.enumerated() where plan.stocks[index] != before[index] {
            used[key] = plan.stocks[index]
            if plan.stocks[index].units == 0 && plan.stocks[index].unitsElsewhere == 0 {
                let last = outcomes.indices.last { outcomes[$0] == .reserved && plan.lines[$0] == index }
                let offset = last.map { plan.orders[$0].offset }
                alerts.raise(key, lastOrder: inputs.last { $0.offset == offset }?.trace)
            }
        }
        if !used.isEmpty { unit.transaction.finish(DecisionStatements.use(used, partition: batch.partition)) }
        let kept = outcomes.indices.filter { outcomes[$0].state != nil }
        if !kept.isEmpty {
            unit.transaction.finish(
                DecisionStatements.insert(
                    kept, of: plan.orders, states: kept.compactMap { outcomes[$0].state }, holdUntil: holdUntil,
                    partition: batch.partition))
        }
        let refusals = refusals(plan.orders, lines: plan.lines, keys: plan.keys, outcomes: outcomes)
        if let through = refusals.map(\.lastOffset).max() {
            refused.expect(refusals.flatMap(\.orderIds), through: through, batch.partition)
            unit.transaction.finish([
                RefusalStatements.insert(refusals, partition: batch.partition),
                RefusalStatements.hold(refused.holder, batch.partition, through: through),
            ])
        }
        let lines = zip(plan.keys, plan.terms).map {
            Decided.Line(
                saleId: $0.saleId, batch: $0.batch, variant: $0.variant, brandId: $1.brandId, price: $1.price,
                holdSeconds: $1.holdSeconds)
        }
        let deferred = DeferredRecords(
            head: Decided(lines: lines, decidedAt: unit.now), firstOffset: batch.firstOffset, codes: codes)
        unit.publish(rendering: try deferred.encoded())
        decided.count(outcomes, unit)
    }

    /// Ends orders of earlier batches that their buyers took back. Their units go to the pool.
    private func end(
        _ ids: [OrderID], of live: [OrderID: LiveOrder], _ inputs: [Incoming<OrderInput>], _ unit: UnitOfWork
    ) async throws {
        if ids.isEmpty { return }
        var causes: [OrderID: TraceContext] = [:]
        for input in inputs {
            if case .cancelled(let order) = input.value, let trace = input.trace { causes[order.orderId] = trace }
        }
        let holding = Dictionary(uniqueKeysWithValues: ids.map { ($0, live[$0]?.hasUnit == true) })
        try await settlement.cancel(holding, causes: causes, unit)
    }
}
