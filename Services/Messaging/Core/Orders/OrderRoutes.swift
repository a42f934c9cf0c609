// Routes of ordering in the chat.
import HTTP
import JSON
import Models
import Postgres
import Security
import ServiceKit

struct OrderRoutes: Sendable {
    private static let clientOrderIdCharactersMax = 64

    let postgres: PostgresPool
    let commands: OrderCommands

    /// The busiest route of all at noon: no signature check for a token that was seen before, and see the command.
    func place(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        let wanted = try request.json { (json) throws(JSONError) in
            try json.onlyMembers(["clientOrderId", "saleId", "batch", "variant"])
            return OrderRequest(
                clientOrderId: try json.string("clientOrderId", charactersMax: Self.clientOrderIdCharactersMax),
                saleId: try json.identifier("saleId"),
                batch: try json.optionalInteger("batch", in: 1...Int64(Sale.batchesMax)).map { Int($0) },
                variant: try json.variantCode("variant"))
        }
        return Self.accepted(try await commands.place(wanted, by: caller.sub))
    }

    func cancel(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        Self.accepted(try await commands.cancel(try request.identifier("id"), by: caller.sub))
    }

    private static func accepted(_ order: StoredOrder) -> HTTPResponse {
        .json(202, JSONWriter.document(order)).with("Location", "/v1/orders/\(order.orderId)")
    }

    func one(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        let rows = try await postgres.query(
            OrderStatements.one(try request.identifier("id"), visibleTo: caller.sub))
        guard let order = try OrderStatements.orderRow.first(rows) else { throw Problem.notFound() }
        return .json(200, JSONWriter.document(order))
    }

    func list(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        let page = try Page(request.query, of: "orders", [caller.sub.description])
        let before = try page.position { TimedPosition<OrderID>($0) }
        let orders = try OrderStatements.orderRow.all(
            try await postgres.query(
                OrderStatements.list(of: caller.sub, before: before, countMax: page.limit + 1)))
        let slice = page.slice(orders) { TimedPosition(time: $0.acceptedAt, id: $0.orderId).description }
        return .json(200, JSONWriter.document(slice))
    }
}

extension OrderCommands.Refusal: ProblemConvertible {
    var problem: Problem {
        switch self {
        case .unknownSale: Problem(404, type: "sale-not-found", title: "There is no such sale")
        case .unplaceable(let refusal): refusal.problem
        case .idReused(let order):
            Problem(
                422, type: "client-order-id-reused", title: "The clientOrderId belongs to another order",
                detail: "The order \(order) was placed under this clientOrderId with other contents.")
        case .unknownOrder: .notFound()
        case .ended(let status):
            .conflict(type: "order-ended", "The order is \(status.rawValue) already.")
        case .gone: .unavailable(retryAfterSeconds: 1)
        }
    }
}

extension OrderRefusal: ProblemConvertible {
    var problem: Problem {
        switch self {
        case .unknownBatch:
            .unprocessable(fields: [FieldProblem("batch", expected: "a batch of the sale")])
        case .unknownVariant:
            .unprocessable(fields: [FieldProblem("variant", expected: "a variant that the sale offers")])
        case .notOpen(let opensAt):
            Self.notOpen(until: opensAt)
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
}
