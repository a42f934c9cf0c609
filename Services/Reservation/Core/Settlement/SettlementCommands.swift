// How orders end: paid, released, cancelled, run out, or waited in vain. What they held goes back into the stocks.
import EventPipeline
import Models
import Observability
import Postgres

/// Where a unit of work is given, the work is part of its transaction.
struct SettlementCommands: Sendable {
    /// A payment made in the last moment has this long to arrive.
    static let expiryGraceSeconds: Int64 = 5

    let relay: Relay
    let alerts: StockAlerts

    // MARK: Payments

    /// - Returns: those of the orders that have a row.
    func settle(
        paid: [OrderID], failed: [OrderID], causes: [OrderID: TraceContext], _ unit: UnitOfWork
    ) async throws -> Set<OrderID> {
        let found = Dictionary(
            try SettlementStatements.standingRow.all(
                try await unit.transaction.query(SettlementStatements.lock(paid + failed))
            ).map { ($0.order, $0.standing) }, uniquingKeysWith: { $1 })
        let held = paid.filter { found[$0]?.state == .reserved }
        if !held.isEmpty {
            for order in try await changed(by: SettlementStatements.confirm(held), unit) {
                unit.publish(
                    .reservations, key: order.line.buyerId, id: "\(order.line.orderId)/confirmed",
                    OrderConfirmed(line: order.line), cause: causes[order.line.orderId])
            }
        }
        // Held no more: the money has to go back. Confirmed or told before: the event came twice.
        let ended = paid.filter { found[$0]?.state == .released && found[$0]?.isRefunded == false }
        if !ended.isEmpty {
            for order in try await changed(by: SettlementStatements.refund(ended), unit) {
                unit.publish(
                    .reservations, key: order.line.buyerId, id: "\(order.line.orderId)/paid-too-late",
                    OrderReleased(line: order.line, reason: .paidTooLate), cause: causes[order.line.orderId])
            }
        }
        let isPaid = Set(held)
        let unpaid = failed.filter { found[$0]?.state == .reserved && !isPaid.contains($0) }
        let released = try await end(unpaid, unit)
        publish(released, reason: .paymentFailed, causes: causes, unit)
        giveBack(released, unit)
        return Set(found.keys)
    }

    // MARK: Other ends

    /// Ends orders that their buyers took back; the transaction holds them locked. Their units go to the pool.
    /// - Parameters:
    ///   - orders: with each whether it holds a unit; it waits otherwise.
    ///   - causes: the traces of the cancellations.
    func cancel(_ orders: [OrderID: Bool], causes: [OrderID: TraceContext] = [:], _ unit: UnitOfWork) async throws {
        let ended = try await end(orders.keys.sorted(), unit)
        publish(ended, reason: .cancelled, causes: causes, unit)
        giveBack(
            ended.filter { orders[$0.line.orderId] == true },
            waiting: ended.filter { orders[$0.line.orderId] == false }, unit)
    }

    /// Holds that ended before this are over. A hold was given by an instance's clock and is ended by an instance's
    /// clock, which tests may move; the grace is more than two clocks may differ.
    static func overdue(at now: Timestamp) -> Timestamp { now.adding(seconds: -expiryGraceSeconds) }

    /// Releases holds that ran out; true when there may be more.
    func expire(_ key: StockKey) async throws -> Bool {
        try await relay.commit { unit in
            let overdue = try await unit.transaction.query(
                SettlementStatements.lockOverdue(key, before: Self.overdue(at: unit.now))
            ).column(0, as: OrderID.self)
            let expired = try await end(overdue, unit)
            publish(expired, reason: .expired, unit)
            giveBack(expired, unit)
            return expired.count == SettlementStatements.expiredMax
        }
    }

    /// Ends the waiting for a stock that nobody gets any more.
    /// - Returns: how many waited: at most `SettlementStatements.waitingMax`.
    func endWaiting(_ key: StockKey, _ unit: UnitOfWork) async throws -> Int64 {
        let waiting = try await unit.transaction.query(SettlementStatements.lockWaiting(key))
            .column(0, as: OrderID.self)
        let ended = try await end(waiting, unit)
        for order in ended {
            unit.publish(
                .reservations, key: order.line.buyerId, id: "\(order.line.orderId)/rejected",
                OrderRejected(line: order.line, reason: .waitlistEnded))
        }
        giveBack([], waiting: ended, unit)
        return Int64(ended.count)
    }

    // MARK: Pieces

    private func end(_ orders: [OrderID], _ unit: UnitOfWork) async throws -> [ChangedOrder] {
        orders.isEmpty ? [] : try await changed(by: SettlementStatements.end(orders), unit)
    }

    private func changed(by statement: SQL, _ unit: UnitOfWork) async throws -> [ChangedOrder] {
        try SettlementStatements.changedRow.all(try await unit.transaction.query(statement))
    }

    /// - Parameter causes: the traces of what ended them, by order; those of a clock have none.
    private func publish(
        _ orders: [ChangedOrder], reason: OrderReleased.Reason, causes: [OrderID: TraceContext] = [:],
        _ unit: UnitOfWork
    ) {
        for order in orders {
            unit.publish(
                .reservations, key: order.line.buyerId, id: "\(order.line.orderId)/released",
                OrderReleased(line: order.line, reason: reason), cause: causes[order.line.orderId])
        }
    }

    /// Puts what these orders held back into the stocks, with the unit of work's commit.
    /// - Parameters:
    ///   - orders: held units.
    ///   - waiting: held places on the waitlist.
    private func giveBack(_ orders: [ChangedOrder], waiting: [ChangedOrder] = [], _ unit: UnitOfWork) {
        if orders.isEmpty && waiting.isEmpty { return }
        var units: [StockKey: Int64] = [:]
        for order in orders { units[order.key, default: 0] += 1 }
        var places: [StockKey: Int64] = [:]
        for order in waiting { places[order.key, default: 0] += 1 }
        unit.transaction.finish(StockStatements.giveBack(units: units, places: places))
        if !orders.isEmpty { alerts.raise() }
    }
}
