// Routes of the sender's own wallet: what it holds, what came and went, who may charge it without asking.
import HTTP
import JSON
import Models
import Postgres
import Security
import ServiceKit

struct WalletRoutes: Sendable {
    let postgres: PostgresPool
    let verifier: TokenVerifier
    let now: @Sendable () -> Timestamp

    var routes: [Route] {
        [
            Route(.get, "/v1/wallet", wallet),
            Route(.get, "/v1/wallet/entries", entries),
            Route(.get, "/v1/wallet/authorisations", authorisations),
            Route(.get, "/v1/wallet/authorisations/{payeeId}", authorisation),
            Route(.put, "/v1/wallet/authorisations/{payeeId}", bodyBytesMax: 4096, authorise),
            Route(.delete, "/v1/wallet/authorisations/{payeeId}", withdraw),
        ]
    }

    private static let noWallet = Problem.notFound("The account has no wallet, or it has not opened yet.")
    private static let noAuthorisation = Problem.notFound("The payee is not authorised.")
    private static let noPayee = Problem.notFound("There is no such brand.")

    private func owner(_ request: HTTPRequest) throws -> AccountID {
        let claims = try request.claims(using: verifier, now: now())
        try claims.require(.person, .brand)
        return claims.sub
    }

    private func wallet(_ request: HTTPRequest) async throws -> HTTPResponse {
        let owner = try owner(request)
        let rows = try await postgres.query(WalletStatements.balances(owner))
        guard !rows.isEmpty else { throw Self.noWallet }
        var byKind: [LedgerAccountKey.Kind: [Money]] = [:]
        for row in rows {
            let balance = Money(try row.get(2), try row.currency(1))
            byKind[try row.choice(0), default: []].append(balance)
        }
        var writer = JSONWriter()
        writer.object {
            $0.field("accountId", owner)
            $0.field("balances", byKind[.wallet] ?? [])
            $0.field("proceeds", optional: byKind[.proceeds])
        }
        return .json(200, writer.bytes)
    }

    private func entries(_ request: HTTPRequest) async throws -> HTTPResponse {
        let owner = try owner(request)
        let query = request.query
        let page = try Page(query, of: "entries", [owner.description])
        let before = try page.position { WalletStatements.EntryCursor($0) }
        var entries: [Entry] = []
        for row in try await postgres.query(
            WalletStatements.entries(owner, before: before, countMax: page.limit + 1))
        {
            entries.append(try Entry(row))
        }
        return .json(200, JSONWriter.document(page.slice(entries) { $0.cursor.description }))
    }

    // MARK: Authorisations

    private func authorisations(_ request: HTTPRequest) async throws -> HTTPResponse {
        let rows = try await postgres.query(WalletStatements.authorisations(owner(request)))
        var items: [Account.Authorisation] = []
        for row in rows { items.append(try Self.authorisation(row)) }
        var writer = JSONWriter()
        writer.object { $0.field("items", items) }
        return .json(200, writer.bytes)
    }

    private func authorisation(_ request: HTTPRequest) async throws -> HTTPResponse {
        let owner = try owner(request)
        guard
            let payee = payee(request),
            let row = try await postgres.query(WalletStatements.authorisation(owner, payee: payee)).first
        else { throw Self.noAuthorisation }
        return answer(try Self.authorisation(row))
    }

    private static func authorisation(_ row: Row) throws(PostgresError) -> Account.Authorisation {
        Account.Authorisation(
            payeeId: try row.get(0), limit: Money(try row.get(1), try row.currency(2)), publisher: try row.publisher(3))
    }

    /// Lets a brand charge the wallet for orders that are reserved from now on, each up to the limit: those that the owner
    /// placed in the app, and those of the publisher that is named, if one is.
    private func authorise(_ request: HTTPRequest) async throws -> HTTPResponse {
        let owner = try owner(request)
        let (limit, publisher) = try request.json { (json) throws(JSONError) in
            try json.onlyMembers(["limit", "publisher"])
            return (try json.exactMoney("limit"), try json.optionalPublisher("publisher"))
        }
        guard let payee = payee(request) else { throw Self.noPayee }
        let precondition = try Precondition(request)
        let authorisation = Account.Authorisation(payeeId: payee, limit: limit, publisher: publisher)
        try await postgres.transaction { transaction in
            let rows = try await transaction.pipeline([
                WalletStatements.lockWallets(owner), WalletStatements.authorisationFacts(owner, payee: payee),
                WalletStatements.authorisation(owner, payee: payee),
            ])
            guard !rows[0].isEmpty else { throw Self.noWallet }
            guard try rows[1][0].get(0, as: Bool.self) else { throw Self.noPayee }
            guard try rows[1][0].get(1, as: Int64.self) < WalletStatements.authorisationsMax else {
                throw Problem.conflict(
                    type: "too-many-authorisations",
                    "A wallet has at most \(WalletStatements.authorisationsMax) authorisations: withdraw one first.")
            }
            try precondition.check(try Self.tag(rows[2]))
            transaction.finish([WalletStatements.authorise(owner, authorisation)])
        }
        return answer(authorisation)
    }

    private func withdraw(_ request: HTTPRequest) async throws -> HTTPResponse {
        let owner = try owner(request)
        let precondition = try Precondition(request)
        guard let payee = payee(request) else { throw Self.noAuthorisation }
        let withdrawn = try await postgres.transaction { transaction in
            let rows = try await transaction.pipeline([
                WalletStatements.lockWallets(owner), WalletStatements.authorisation(owner, payee: payee),
            ])
            guard !rows[1].isEmpty else { return false }
            try precondition.check(try Self.tag(rows[1]))
            transaction.finish(WalletStatements.withdraw(owner, payee: payee))
            return true
        }
        guard withdrawn else { throw Self.noAuthorisation }
        return .empty(204)
    }

    private func payee(_ request: HTTPRequest) -> AccountID? {
        request.pathParameters["payeeId"].flatMap { AccountID($0) }
    }

    private func answer(_ authorisation: Account.Authorisation) -> HTTPResponse {
        let document = JSONWriter.document(authorisation)
        return .json(200, document).with("ETag", EntityTag(of: document).text)
    }

    /// The tag of what one row says, nil where there is none.
    private static func tag(_ rows: Rows) throws(PostgresError) -> EntityTag? {
        guard let row = rows.first else { return nil }
        return EntityTag(of: JSONWriter.document(try authorisation(row)))
    }
}

/// What came or went by one transfer, as the wallet's owner sees it.
private struct Entry: Sendable, JSONWritable {
    let cursor: WalletStatements.EntryCursor
    let account: LedgerAccountKey.Kind
    let kind: Transfer.Kind
    let order: OrderID?
    let amount: Money
    let createdAt: Timestamp

    init(_ row: Row) throws {
        cursor = WalletStatements.EntryCursor(transfer: try row.get(0), account: try row.get(1))
        account = try row.choice(2)
        kind = try row.choice(3)
        order = try row.get(4)
        amount = Money(try row.get(5), try row.currency(6))
        createdAt = try row.get(7)
    }

    func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("transferId", cursor.transfer)
            $0.field("account", account.rawValue)
            $0.field("kind", kind.rawValue)
            $0.field("orderId", optional: order)
            $0.field("amount", amount)
            $0.field("createdAt", createdAt)
        }
    }
}
