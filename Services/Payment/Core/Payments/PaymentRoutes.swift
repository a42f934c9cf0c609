// Routes of payments.
import HTTP
import JSON
import Models
import Postgres
import Security
import ServiceKit

struct PaymentRoutes: Sendable {
    let postgres: PostgresPool
    let commands: PaymentCommands

    /// Pays an order within its hold from the caller's wallet.
    func pay(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        let order = try request.json { (json) throws(JSONError) -> OrderID in
            try json.onlyMembers(["orderId"])
            return try json.identifier("orderId")
        }
        let command = try IdempotentCommand(request, by: caller.sub, name: "payment", content: order.textBytes)
        return try await commands.pay(PaymentCommands.Payment(idempotent: command, order: order)).response
    }

    func one(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        let unknown = Problem.notFound("There is no such payment of yours.")
        let id = try request.identifier("id", of: PaymentID.self, orElse: unknown)
        let rows = try await postgres.query(OrderStatements.payment(id, seenBy: caller.sub))
        guard let (order, createdAt) = try OrderStatements.paymentRow.first(rows) else { throw unknown }
        return .json(200, JSONWriter.document(try PaymentView(order, createdAt: createdAt)))
    }
}

extension Settlement.Refusal: ProblemConvertible {
    var problem: Problem {
        switch self {
        case .unknownOrder: .notFound("There is no such order of yours, or its reservation has not arrived yet.")
        case .alreadyPaid: .conflict(type: "already-paid", "The order is paid.")
        case .holdOver: .conflict(type: "hold-over", "The order no longer holds a unit.")
        case .insufficientFunds: .conflict(type: "insufficient-funds", "The wallet holds less than the price.")
        }
    }
}
