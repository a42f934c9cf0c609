// Routes of payments and top-ups.
import HTTP
import JSON
import Models
import Postgres
import Security
import ServiceKit

struct PaymentRoutes: Sendable {
    let postgres: PostgresPool
    let verifier: TokenVerifier
    let now: @Sendable () -> Timestamp
    let payDesk: PayDesk
    let topUpDesk: TopUpDesk

    var routes: [Route] {
        [
            Route(.post, "/v1/payments", bodyBytesMax: 4096, pay),
            Route(.get, "/v1/payments/{id}", payment),
            Route(.post, "/v1/operator/topups", bodyBytesMax: TopUpDesk.bodyBytesMax, topUp)
                .admitting { try $0.claims(using: verifier, now: now()).require(.operator) },
        ]
    }

    /// Pays an order within its hold from the sender's wallet.
    private func pay(_ request: HTTPRequest) async throws -> HTTPResponse {
        let claims = try request.claims(using: verifier, now: now())
        try claims.require(.person, .brand)
        let order = try request.json { (json) throws(JSONError) -> OrderID in
            try json.onlyMembers(["orderId"])
            return try json.identifier("orderId")
        }
        let command = try IdempotentCommand(request, by: claims.sub, name: "payment", content: order.textBytes)
        return try await payDesk.pay(PayDesk.Command(idempotent: command, order: order)).response
    }

    private func payment(_ request: HTTPRequest) async throws -> HTTPResponse {
        let claims = try request.claims(using: verifier, now: now())
        try claims.require(.person, .brand)
        guard
            let id = request.pathParameters["id"].flatMap({ PaymentID($0) }),
            let row = try await postgres.query(OrderStatements.payment(id, seenBy: claims.sub)).first
        else { throw Problem.notFound("There is no such payment of yours.") }
        let document = try PaymentDocument(OrderStatements.order(row), createdAt: row.get(13))
        return .json(200, JSONWriter.document(document))
    }

    private func topUp(_ request: HTTPRequest) async throws -> HTTPResponse {
        let claims = try request.claims(using: verifier, now: now())
        try claims.require(.operator)
        let items = try TopUpDesk.items(request)
        let command = try IdempotentCommand(
            request, by: claims.sub, name: "topups", content: JSONWriter.document(items))
        return try await topUpDesk.topUp(items, command).response
    }
}
