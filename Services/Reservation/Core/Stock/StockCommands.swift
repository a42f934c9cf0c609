// What moves units: supply in, leases filled, the waitlist promoted, sold out said.
import EventPipeline
import Models
import Observability
import Postgres

/// Works through the relay: what it changes and what it says are one transaction.
struct StockCommands: Sendable {
    let relay: Relay
    let sales: SaleTable
    let settlement: SettlementCommands
    let alerts: StockAlerts

    // MARK: Supply

    /// Takes a sale's supply over; a revision that was taken over before changes nothing.
    func takeOver(_ sale: Sale) async throws {
        try await relay.commit { unit in try await takeOver(sale, unit) }
        alerts.raise()
    }

    /// Takes over what the table says of a sale now; where it says nothing, the sale was withdrawn: its batches end.
    func takeOver(_ saleId: SaleID) async throws {
        if let sale = sales[saleId] { return try await takeOver(sale) }
        let withdrawn = sales.withdrawn(saleId)
        try await relay.commit { unit in
            // Orders that come later are answered by what is in the table of stocks, after a restart too.
            if let withdrawn { try await takeOver(withdrawn, unit) }
            _ = try await unit.transaction.pipeline(SupplyStatements.close(saleId, at: unit.now))
        }
        alerts.raise()
    }

    private func takeOver(_ sale: Sale, _ unit: UnitOfWork) async throws {
        let results = try await unit.transaction.pipeline([
            SupplyStatements.lock(sale.saleId), SupplyStatements.takeOver(sale),
        ])
        for before in try SupplyStatements.supplyRow.all(results[0]) {
            // What had sold out and has supply again.
            guard before.isSoldOut, before.revision < sale.revision,
                let line = sale.batch(before.batch)?.line(before.variant), line.units > before.supply
            else { continue }
            let key = StockKey(saleId: sale.saleId, batch: before.batch, variant: before.variant)
            publish(.available(key, brandId: sale.brandId, at: unit.now, after: before.soldOutCount), unit)
        }
    }

    // MARK: Leases

    /// Tops up a partition's leases, all in one transaction. Orders that wait come before orders that arrive.
    /// - Parameter partition: has sent all that it owes; its orders are not held back by its outbox.
    func refill(_ shortages: [Shortage], partition: Int32) async throws {
        var rest = shortages
        while !rest.isEmpty { rest = try await refillOnce(rest, partition: partition) }
    }

    /// - Returns: those of which more may have to be promoted before the lease gets something.
    private func refillOnce(_ shortages: [Shortage], partition: Int32) async throws -> [Shortage] {
        try await relay.commit { unit in
            let locked = try await lock(shortages.map(\.key), unit)
            var (changed, rest): ([StockChange], [Shortage]) = ([], [])
            for shortage in shortages {
                guard let found = locked[shortage.key] else { continue }
                var stock = found.stock
                var (promoted, waiting): (Int64, Int64) = (0, 0)
                if found.isWaitedFor, !found.isClosed {
                    (promoted, waiting) = try await promote(shortage.key, &stock, sent: partition, unit)
                }
                // Those who wait and cannot be promoted yet keep their claim, but never so that a partition cannot go on.
                let claimed = promoted == 0 && waiting >= stock.freeUnits ? 0 : min(waiting, stock.pool)
                stock.pool -= claimed
                if stock.freeUnits > 0 || claimed == 0 {
                    stock.grant(
                        to: partition, wanted: shortage.wanted, partitions: Int64(Topic.orders.partitions))
                }
                stock.pool += claimed
                if stock != found.stock {
                    changed.append(StockChange(key: shortage.key, before: found.stock, after: stock))
                }
                if promoted > 0 && waiting > 0 { rest.append(shortage) }
            }
            if !changed.isEmpty { unit.transaction.finish(StockStatements.save(changed)) }
            return rest
        }
    }

    // MARK: The waitlist, and sold out

    /// Gives what is free to whoever waits, ends the waiting with the batch, and says that a stock is sold out, or is not
    /// any more. True when there may be more.
    func attend(_ key: StockKey) async throws -> Bool {
        let (hasMore, isSoldOut) = try await relay.commit { unit in
            guard let locked = try await lock([key], unit)[key] else { return (false, false) }
            var (changed, waiting): (Int64, Int64) = (0, 0)
            if locked.isClosed {
                changed = try await settlement.endWaiting(key, unit)
            } else {
                var stock = locked.stock
                (changed, waiting) = try await promote(key, &stock, unit)
                if stock != locked.stock {
                    let change = StockChange(key: key, before: locked.stock, after: stock)
                    _ = try await unit.transaction.pipeline(StockStatements.save([change]))
                }
            }
            let hasMore = changed == StockStatements.changedMax
            // What is free is theirs who wait.
            if waiting > 0 { return (hasMore, false) }
            guard let news = try await settleAvailability(key, unit) else { return (hasMore, false) }
            var (isSoldOut, cause): (Bool, TraceContext?) = (false, nil)
            if case .soldOut = news { (isSoldOut, cause) = (true, alerts.lastOrder(of: key)) }
            publish(news, cause: cause, unit)
            return (hasMore, isSoldOut)
        }
        if isSoldOut { alerts.settle(key) }
        return hasMore
    }

    /// A stock as a transaction holds it locked, with its leases.
    private struct LockedStock {
        let stock: LeasedStock
        /// Nobody is promoted and nobody waits any more.
        let isClosed: Bool
        let isWaitedFor: Bool
    }

    private func lock(_ keys: [StockKey], _ unit: UnitOfWork) async throws -> [StockKey: LockedStock] {
        let results = try await unit.transaction.pipeline(StockStatements.lock(keys))
        let pools = try StockStatements.poolRow.all(results[0])
        let leases = Dictionary(grouping: try StockStatements.leaseRow.all(results[1]), by: \.key)
        let waitedFor = Set(try StockStatements.keyRow.all(results[2]))
        return Dictionary(
            pools.map { pool in
                let stock = LeasedStock(
                    pool: pool.units, places: pool.places, leases: leases[pool.key, default: []].map(\.lease))
                return (
                    pool.key,
                    LockedStock(
                        stock: stock, isClosed: pool.closesAt.map { $0 <= unit.now } ?? false,
                        isWaitedFor: waitedFor.contains(pool.key))
                )
            }, uniquingKeysWith: { first, _ in first })
    }

    /// Gives free units, those in leases too, to whoever waits. What is left while somebody waits on is in the pool: no
    /// partition gives it to who comes later.
    private func promote(
        _ key: StockKey, _ stock: inout LeasedStock, sent partition: Int32? = nil, _ unit: UnitOfWork
    ) async throws -> (promoted: Int64, waiting: Int64) {
        let free = stock.freeUnits
        guard free > 0 else { return (0, 0) }
        let results = try await unit.transaction.pipeline([
            StockStatements.promote(key, units: free, at: unit.now, sent: partition),
            StockStatements.waiting(key, countMax: free),
        ])
        let orders = try SettlementStatements.changedRow.all(results[0])
        let promoted = Int64(orders.count)
        let waiting = min(try results[1].column(0, as: Int64.self).first ?? 0, free - promoted)
        if promoted + waiting > 0 {
            stock.pool = free - promoted
            stock.places += promoted
            for index in stock.leases.indices { stock.leases[index].units = 0 }
        }
        for order in orders {
            unit.publish(
                .reservations, key: order.line.buyerId, id: "\(order.line.orderId)/reserved",
                OrderReserved(
                    line: order.line, price: order.price, holdUntil: order.holdUntil ?? unit.now, promoted: true))
        }
        return (promoted, waiting)
    }

    /// Notes that a locked stock, for which nobody waits, is sold out or is not any more.
    /// - Returns: what is to be said of that.
    private func settleAvailability(_ key: StockKey, _ unit: UnitOfWork) async throws -> Availability? {
        let results = try await unit.transaction.pipeline([
            StockStatements.markSoldOut(key, at: unit.now), StockStatements.markAvailable(key, at: unit.now),
            StockStatements.forgetReturned(key),
        ])
        if let marked = try StockStatements.soldOutRow.first(results[0]) {
            return .soldOut(key, brandId: marked.brand, at: unit.now, number: marked.number, units: marked.units)
        }
        return try StockStatements.availableRow.first(results[1]).map {
            .available(key, brandId: $0.brand, at: unit.now, after: $0.number)
        }
    }

    private func publish(_ availability: Availability, cause: TraceContext? = nil, _ unit: UnitOfWork) {
        switch availability {
        case .soldOut(let event, let number):
            unit.publish(
                .reservations, key: event.saleId,
                id: "\(event.saleId)/\(event.batch)/\(event.variant)/soldout/\(number)", event, cause: cause)
        case .available(let event, let number):
            unit.publish(
                .reservations, key: event.saleId,
                id: "\(event.saleId)/\(event.batch)/\(event.variant)/available/\(number)", event, cause: cause)
        }
    }
}
