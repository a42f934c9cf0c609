// Routes of who may charge the caller's wallet without asking.
import HTTP
import JSON
import Models
import Postgres
import Security
import ServiceKit

struct AuthorisationRoutes: Sendable {
    let postgres: PostgresPool

    private var commands: AuthorisationCommands { AuthorisationCommands(postgres: postgres) }

    func list(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        let items = try AuthorisationStatements.authorisationRow.all(
            try await postgres.query(AuthorisationStatements.list(caller.sub)))
        var writer = JSONWriter()
        writer.object { $0.field("items", items) }
        return .json(200, writer.bytes)
    }

    func one(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        let payee = try payee(request, orElse: .notAuthorised)
        let rows = try await postgres.query(AuthorisationStatements.one(caller.sub, payee: payee))
        guard let authorisation = try AuthorisationStatements.authorisationRow.first(rows) else {
            throw AuthorisationCommands.Refusal.notAuthorised
        }
        return answer(authorisation)
    }

    func put(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        let (limit, publisher) = try request.json { (json) throws(JSONError) in
            try json.onlyMembers(["limit", "publisher"])
            return (try json.exactMoney("limit"), try json.optionalPublisher("publisher"))
        }
        let authorisation = Account.Authorisation(
            payeeId: try payee(request, orElse: .noPayee), limit: limit, publisher: publisher)
        try await commands.put(authorisation, by: caller.sub, if: try Precondition(request))
        return answer(authorisation)
    }

    func delete(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        let precondition = try Precondition(request)
        try await commands.delete(
            try payee(request, orElse: .notAuthorised), by: caller.sub, if: precondition)
        return .empty(204)
    }

    private func payee(
        _ request: HTTPRequest, orElse refusal: AuthorisationCommands.Refusal
    ) throws(Problem) -> BrandID {
        try request.identifier("payeeId", orElse: refusal.problem)
    }

    private func answer(_ authorisation: Account.Authorisation) -> HTTPResponse {
        .json(200, JSONWriter.document(authorisation)).with("ETag", authorisation.tag.text)
    }
}

extension AuthorisationCommands.Refusal: ProblemConvertible {
    var problem: Problem {
        switch self {
        case .noWallet: WalletRoutes.noWallet
        case .noPayee: .notFound("There is no such brand.")
        case .notAuthorised: .notFound("The payee is not authorised.")
        case .tooMany:
            .conflict(
                type: "too-many-authorisations",
                "A wallet has at most \(AuthorisationStatements.countMax) authorisations: withdraw one first.")
        }
    }
}
