// Carries a list of reservations' events into the ledger, inside one transaction.
import Models
import Postgres

/// An event of the topic `reservations` that concerns money.
enum ReservationNews: Sendable {
    case reserved(OrderReserved)
    case released(OrderReleased)
}

/// Locks what the events touch, decides in memory, writes it as sets: two round trips, whatever their number.
struct SettlementCommands: Sendable {
    let newID: @Sendable () -> PaymentID

    /// - Parameter slot: the partition that the events were read from.
    /// - Returns: what was decided, which is written when the transaction commits, and of which events the ledger says
    ///   that they cannot be: they change nothing.
    func settle(
        _ news: [ReservationNews], slot: Int32, _ transaction: Transaction
    ) async throws -> (settlement: Settlement, impossible: [(input: Int, error: LedgerError)]) {
        var settlement = try await load(news, slot, transaction)
        var impossible: [(input: Int, error: LedgerError)] = []
        for (input, one) in news.enumerated() {
            do throws(LedgerError) {
                switch one {
                case .reserved(let event):
                    try settlement.reserved(event, slot: slot, payment: newID(), input: input)
                case .released(let event):
                    let id = newID()
                    try settlement.released(
                        event, slot: slot, transfer: TransferID(high: id.high, low: id.low), input: input)
                }
            } catch {
                impossible.append((input, error))
            }
        }
        transaction.finish(settlement.statements())
        return (settlement, impossible)
    }

    private func load(
        _ news: [ReservationNews], _ slot: Int32, _ transaction: Transaction
    ) async throws -> Settlement {
        var orders: Set<OrderID> = []
        var released: Set<OrderID> = []
        var buyers: Set<AccountID> = []
        var brands: Set<BrandID> = []
        var proceeds: Set<LedgerAccountKey> = []
        var asked: Set<AuthorisationKey> = []
        orders.reserveCapacity(news.count)
        buyers.reserveCapacity(news.count)
        asked.reserveCapacity(news.count)
        for one in news {
            switch one {
            case .reserved(let event):
                orders.insert(event.line.orderId)
                buyers.insert(event.line.buyerId)
                brands.insert(event.line.brandId)
                proceeds.insert(.proceeds(event.line.brandId, event.price.currency, slot: slot))
                asked.insert(AuthorisationKey(owner: event.line.buyerId, payee: event.line.brandId))
            case .released(let event):
                orders.insert(event.line.orderId)
                released.insert(event.line.orderId)
                buyers.insert(event.line.buyerId)
            }
        }
        // Sorted, so that lookups that follow each other meet in the same pages of the index.
        let sorted = asked.sorted { ($0.owner, $0.payee) < ($1.owner, $1.payee) }
        let rows = try await transaction.pipeline([
            LedgerStatements.openProceeds(proceeds),
            OrderStatements.lock(orders),
            LedgerStatements.lockAccounts(buyers: buyers, brands: brands, slot: slot, orders: released),
            OrderStatements.authorities(owners: sorted.map(\.owner), payees: sorted.map(\.payee)),
        ])
        return Settlement(
            orders: try OrderStatements.orderRow.all(rows[1]), accounts: try LedgerStatements.accountRow.all(rows[2]),
            authorisations: Dictionary(
                try OrderStatements.authorityRow.all(rows[3]).map { ($0.key, $0.authority) }, uniquingKeysWith: { $1 }))
    }
}

extension Settlement {
    /// Writes what was decided.
    /// - Parameter time: when the transfers happened, nil for the database's present.
    func statements(at time: Timestamp? = nil) -> [SQL] {
        var statements: [SQL] = []
        let (added, changed) = (addedOrders, changedOrders)
        if !added.isEmpty { statements.append(OrderStatements.insert(added)) }
        if !changed.isEmpty { statements.append(OrderStatements.update(changed)) }
        if !ledger.transfers.isEmpty { statements.append(LedgerStatements.insert(ledger.transfers, at: time)) }
        return statements
    }
}
