// Places orders and asks for their cancellation. Orders that arrive while a transaction runs share the next one.
import EventPipeline
import Models
import Observability
import Postgres
import Security
import ServiceKit

/// What a buyer wants.
struct OrderRequest: Sendable {
    /// The buyer's own: the same one is the same order, however often it is sent.
    let clientOrderId: String
    let saleId: SaleID
    /// Nil where the buyer leaves the choice to us.
    let batch: Int?
    let variant: String
}

struct OrderCommands: Sendable {
    enum Refusal: Error, Equatable, Sendable {
        case unknownSale
        case unplaceable(OrderRefusal)
        /// The `clientOrderId` belongs to this order, of other contents.
        case idReused(OrderID)
        /// There is no such order, or it is another's.
        case unknownOrder
        /// There is nothing left to cancel.
        case ended(OrderStatus)
        /// It was there a moment ago and is not any more.
        case gone
    }

    /// An order that one request wants placed.
    private struct Placing: Sendable {
        let order: NewOrder
        let request: OrderRequest
        let trace = TraceContext.current
    }

    private let postgres: PostgresPool
    private let now: @Sendable () -> Timestamp
    private let relay: Relay
    private let sales: SaleTables
    private let signer: PublisherKey
    private let committed: @Sendable () -> Void
    private let group: GroupCommit<Placing, StoredOrder>

    init(
        _ context: ServiceContext, relay: Relay, sales: SaleTables, signer: PublisherKey,
        committed: @escaping @Sendable () -> Void
    ) {
        postgres = context.postgres
        now = context.now
        self.relay = relay
        self.sales = sales
        self.signer = signer
        self.committed = committed
        group = GroupCommit(relay: relay) { try await Self.place($0, signer, $1) }
    }

    // MARK: Placing

    /// The busiest command of all at noon: the sale from memory, one row and one record in a transaction shared with
    /// whoever orders at the same moment.
    /// - Throws: `Refusal`, or `Overloaded` when too many wait.
    func place(_ request: OrderRequest, by buyer: AccountID) async throws -> StoredOrder {
        let id = DerivedIdentifiers.order(of: buyer, request.clientOrderId)
        let sale = sales.sale(request.saleId)
        let placement: OrderPlacement
        if let open = try? sale?.placement(batch: request.batch, variant: request.variant, at: now()) {
            placement = open
        } else {
            // The order may have been placed while it could be: then the answer is the same as it was. Nor is anybody
            // turned away because this machine's clock is wrong: Postgres' clock has to say so too.
            let rows = try await postgres.query(OrderStatements.oneAndClock(id, visibleTo: buyer))
            guard let (stored, now) = try OrderStatements.orderAndClockRow.first(rows) else { throw Refusal.gone }
            if let stored {
                try Self.require(stored, sameAs: request)
                return stored
            }
            guard let sale else { throw Refusal.unknownSale }
            do {
                placement = try sale.placement(batch: request.batch, variant: request.variant, at: now)
            } catch {
                throw Refusal.unplaceable(error)
            }
        }
        let order = NewOrder(
            orderId: id, buyerId: buyer, clientOrderId: request.clientOrderId, saleId: request.saleId,
            brandId: placement.brandId, batch: placement.batch, variant: request.variant)
        let stored = try await group.submit(Placing(order: order, request: request))
        committed()
        return stored
    }

    /// Takes in the orders of one transaction and answers each.
    private static func place(
        _ placings: [Placing], _ signer: PublisherKey, _ unit: UnitOfWork
    ) async throws -> [Result<StoredOrder, any Error>] {
        var first: [OrderID: Placing] = [:]
        first.reserveCapacity(placings.count)
        for placing in placings where first[placing.order.orderId] == nil { first[placing.order.orderId] = placing }
        let orders = first.values.map(\.order).sorted { $0.orderId < $1.orderId }
        let now = unit.now
        let new = Set(
            try await unit.transaction.query(OrderStatements.accept(orders, at: now)).column(0, as: OrderID.self))
        var stored: [OrderID: StoredOrder] = [:]
        stored.reserveCapacity(orders.count)
        if new.count < orders.count {
            let known = orders.map(\.orderId).filter { !new.contains($0) }
            let rows = try await unit.transaction.query(OrderStatements.find(known))
            for order in try OrderStatements.orderRow.all(rows) { stored[order.orderId] = order }
        }
        // In the order in which they came, so that they reach the log in it.
        for placing in placings where new.contains(placing.order.orderId) && stored[placing.order.orderId] == nil {
            let order = placing.order
            stored[order.orderId] = order.accepted(at: now)
            unit.publish(
                .orders, key: order.buyerId, id: "\(order.orderId)/placed",
                OrderPlaced(
                    orderId: order.orderId, saleId: order.saleId, batch: order.batch, variant: order.variant,
                    buyerId: order.buyerId),
                cause: placing.trace, signedBy: signer)
        }
        return placings.map { placing in
            guard let found = stored[placing.order.orderId] else { return .failure(Refusal.gone) }
            do throws(Refusal) {
                try require(found, sameAs: placing.request)
                return .success(found)
            } catch {
                return .failure(error)
            }
        }
    }

    private static func require(_ stored: StoredOrder, sameAs request: OrderRequest) throws(Refusal) {
        guard stored.saleId == request.saleId, stored.variant == request.variant,
            request.batch == nil || stored.batch == request.batch
        else { throw .idReused(stored.orderId) }
    }

    // MARK: Cancelling

    /// Asks for an order's cancellation, once.
    /// - Throws: `Refusal`.
    func cancel(_ id: OrderID, by buyer: AccountID) async throws -> StoredOrder {
        let signer = signer
        let order = try await relay.commit { unit in
            let rows = try await unit.transaction.query(OrderStatements.lock(id, of: buyer))
            guard var order = try OrderStatements.orderRow.first(rows) else { throw Refusal.unknownOrder }
            if order.cancelledAt != nil { return order }
            guard !order.status.isFinal else { throw Refusal.ended(order.status) }
            unit.transaction.finish(OrderStatements.markCancelled(id, at: unit.now))
            unit.publish(
                .orders, key: buyer, id: "\(id)/cancelled",
                OrderCancelled(orderId: id, saleId: order.saleId, buyerId: buyer), signedBy: signer)
            order.cancelledAt = unit.now
            return order
        }
        committed()
        return order
    }
}
