// Ordering in the chat.
import EventPipeline
import HTTP
import JSON
import Models
import Observability
import Security
import ServiceKit

struct OrderRoutes: Sendable {
    private static let bodyBytesMax = 4 << 10
    private static let clientOrderIDCharactersMax = 64

    /// An order that one request wants placed.
    private struct Placing: Sendable {
        let order: NewOrder
        /// The batch that the request named; nil where it left the choice to us.
        let batch: Int?
        let trace: TraceContext
    }

    private let context: ServiceContext
    private let door: Doorkeeper
    private let tables: SaleTables
    private let relay: Relay
    private let hub: LiveHub
    /// Proves that what this app publishes was placed by its buyer.
    private let signer: PublisherKey
    private let storage: OrderStorage
    private let desk: GroupCommit<Placing, StoredOrder>

    init(
        _ context: ServiceContext, door: Doorkeeper, tables: SaleTables, relay: Relay, hub: LiveHub,
        signer: PublisherKey
    ) {
        self.context = context
        self.door = door
        self.tables = tables
        self.relay = relay
        self.hub = hub
        self.signer = signer
        storage = OrderStorage(postgres: context.postgres)
        desk = GroupCommit(relay: relay) { try await Self.take($0, signer, $1) }
    }

    var routes: [Route] {
        [
            Route(.post, "/v1/orders", bodyBytesMax: Self.bodyBytesMax) { try await place($0) },
            Route(.get, "/v1/orders") { try await list($0) },
            Route(.get, "/v1/orders/{id}") { try await one($0) },
            Route(.post, "/v1/orders/{id}/cancellation", bodyBytesMax: Self.bodyBytesMax) { try await cancel($0) },
        ]
    }

    // MARK: Placing

    /// The busiest route of all at noon: no signature check for a token that was seen before, the sale from memory, one
    /// row and one record in a transaction shared with whoever orders at the same moment.
    private func place(_ request: HTTPRequest) async throws -> HTTPResponse {
        let claims = try door.member(request)
        let (clientOrderID, saleID, batch, variant) = try request.json { (json) throws(JSONError) in
            try json.onlyMembers(["clientOrderId", "saleId", "batch", "variant"])
            return (
                try json.string("clientOrderId", charactersMax: Self.clientOrderIDCharactersMax),
                try json.identifier("saleId", of: SaleID.self),
                try json.optionalInteger("batch", in: 1...Int64(Sale.batchesMax)).map { Int($0) },
                try json.variantCode("variant")
            )
        }
        let id = DerivedIdentifiers.order(of: claims.sub, clientOrderID)
        let sale = tables.sale(saleID)
        let placement: OrderPlacement
        if let open = try? sale?.placement(batch: batch, variant: variant, at: context.now()) {
            placement = open
        } else {
            // The order may have been placed while it could be: then the answer is the same as it was. Nor is anybody
            // turned away because this machine's clock is wrong: Postgres' clock has to say so too.
            let (stored, now) = try await storage.orderAndTime(id, visibleTo: claims.sub)
            if let stored {
                try Self.requireSame(stored, saleID: saleID, batch: batch, variant: variant)
                return Self.accepted(stored)
            }
            guard let sale else { throw Problem(404, type: "sale-not-found", title: "There is no such sale") }
            do {
                placement = try sale.placement(batch: batch, variant: variant, at: now)
            } catch {
                throw Self.problem(error)
            }
        }
        let placing = Placing(
            order: NewOrder(
                orderID: id, buyerID: claims.sub, clientOrderID: clientOrderID, saleID: saleID,
                brandID: placement.brandId, batch: placement.batch, variant: variant),
            batch: batch, trace: request.trace)
        let stored = try await desk.submit(placing)
        hub.wake()
        return Self.accepted(stored)
    }

    private static func accepted(_ order: StoredOrder) -> HTTPResponse {
        Representation.document(202) { Representation.write(order, to: &$0) }
            .with("Location", "/v1/orders/\(order.orderID)")
    }

    /// Takes in the orders of one transaction and answers each.
    private static func take(
        _ placings: [Placing], _ signer: PublisherKey, _ step: Step
    ) async throws -> [Result<StoredOrder, any Error>] {
        var first: [OrderID: Placing] = [:]
        first.reserveCapacity(placings.count)
        for placing in placings where first[placing.order.orderID] == nil { first[placing.order.orderID] = placing }
        let orders = first.values.map(\.order).sorted { $0.orderID < $1.orderID }
        let now = step.now
        let new = Set(try await OrderStorage.accept(orders, at: now, in: step.transaction))
        var stored: [OrderID: StoredOrder] = [:]
        stored.reserveCapacity(orders.count)
        if new.count < orders.count {
            let known = orders.map(\.orderID).filter { !new.contains($0) }
            for order in try await OrderStorage.orders(known, in: step.transaction) { stored[order.orderID] = order }
        }
        // In the order in which they came, so that they reach the log in it.
        for placing in placings where new.contains(placing.order.orderID) && stored[placing.order.orderID] == nil {
            let order = placing.order
            stored[order.orderID] = StoredOrder(
                orderID: order.orderID, buyerID: order.buyerID, clientOrderID: order.clientOrderID,
                saleID: order.saleID, brandID: order.brandID, batch: order.batch, variant: order.variant,
                status: OrderStatus.accepted.rawValue, reason: nil, acceptedAt: now, decidedAt: nil, holdUntil: nil,
                cancelledAt: nil)
            step.publish(
                .orders, key: order.buyerID, id: "\(order.orderID)/placed",
                OrderPlaced(
                    orderId: order.orderID, saleId: order.saleID, batch: order.batch, variant: order.variant,
                    buyerId: order.buyerID),
                cause: placing.trace, signedBy: signer)
        }
        return placings.map { placing in
            let order = placing.order
            guard let found = stored[order.orderID] else {
                return .failure(Problem.unavailable(retryAfterSeconds: 1))
            }
            do throws(Problem) {
                try requireSame(found, saleID: order.saleID, batch: placing.batch, variant: order.variant)
                return .success(found)
            } catch {
                return .failure(error)
            }
        }
    }

    private static func requireSame(
        _ stored: StoredOrder, saleID: SaleID, batch: Int?, variant: String
    ) throws(Problem) {
        guard stored.saleID == saleID, stored.variant == variant, batch == nil || stored.batch == batch else {
            throw Problem(
                422, type: "client-order-id-reused", title: "The clientOrderId belongs to another order",
                detail: "The order \(stored.orderID) was placed under this clientOrderId with other contents.")
        }
    }

    private static func problem(_ refusal: OrderRefusal) -> Problem {
        switch refusal {
        case .unknownBatch:
            .unprocessable(fields: [FieldProblem("batch", expected: "a batch of the sale")])
        case .unknownVariant:
            .unprocessable(fields: [FieldProblem("variant", expected: "a variant that the sale offers")])
        case .notOpen(let opensAt):
            notOpen(until: opensAt)
        case .closed:
            .conflict(type: "sale-closed", "The sale has closed.")
        }
    }

    private static func notOpen(until opensAt: Timestamp) -> Problem {
        var problem = Problem(
            409, type: "sale-not-open", title: "The sale has not opened", detail: "It opens at \(opensAt).")
        problem.members = [("opensAt", opensAt.description)]
        return problem
    }

    // MARK: Looking and cancelling

    private func one(_ request: HTTPRequest) async throws -> HTTPResponse {
        let claims = try door.member(request)
        let id = try request.identifier("id", of: OrderID.self)
        guard let order = try await storage.order(id, visibleTo: claims.sub) else { throw Problem.notFound() }
        return Representation.document { Representation.write(order, to: &$0) }
    }

    private func list(_ request: HTTPRequest) async throws -> HTTPResponse {
        let claims = try door.member(request)
        let page = try Page(request.query, of: "orders", [claims.sub.description])
        let before = try page.position { TimedPosition<OrderID>($0) }
        let orders = try await storage.orders(
            of: claims.sub, before: before.map { ($0.time, $0.id) }, limit: page.limit + 1)
        let slice = page.slice(orders) { TimedPosition(time: $0.acceptedAt, id: $0.orderID).description }
        return Representation.page(slice.elements, next: slice.nextCursor) { Representation.write($0, to: &$1) }
    }

    private func cancel(_ request: HTTPRequest) async throws -> HTTPResponse {
        let claims = try door.member(request)
        let id = try request.identifier("id", of: OrderID.self)
        let order = try await relay.commit { step in
            guard let order = try await OrderStorage.lock(id, of: claims.sub, in: step.transaction) else {
                throw Problem.notFound()
            }
            if order.cancelledAt != nil { return order }
            if let status = OrderStatus(rawValue: order.status), status.isFinal {
                throw Problem.conflict(type: "order-ended", "The order is \(order.status) already.")
            }
            try await OrderStorage.markCancelled(id, at: step.now, in: step.transaction)
            step.publish(
                .orders, key: claims.sub, id: "\(id)/cancelled",
                OrderCancelled(orderId: id, saleId: order.saleID, buyerId: claims.sub), cause: request.trace,
                signedBy: signer)
            return order.cancelled(at: step.now)
        }
        hub.wake()
        return Self.accepted(order)
    }
}

extension StoredOrder {
    fileprivate func cancelled(at time: Timestamp) -> StoredOrder {
        StoredOrder(
            orderID: orderID, buyerID: buyerID, clientOrderID: clientOrderID, saleID: saleID, brandID: brandID,
            batch: batch, variant: variant, status: status, reason: reason, acceptedAt: acceptedAt,
            decidedAt: decidedAt, holdUntil: holdUntil, cancelledAt: time)
    }
}
