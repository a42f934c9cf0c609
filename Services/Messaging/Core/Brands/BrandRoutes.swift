// Routes of brands and their followers.
import HTTP
import JSON
import Models
import Postgres
import Security
import ServiceKit

struct BrandRoutes: Sendable {
    let postgres: PostgresPool
    let commands: BrandCommands

    func list(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        let page = try Page(request.query, of: "brands")
        let after = try page.position { BrandID($0) }
        let brands = try BrandStatements.brandRow.all(
            try await postgres.query(
                BrandStatements.list(for: caller.sub, after: after, countMax: page.limit + 1))
        ).map { ListedBrand(account: $0, isFollowed: $1) }
        return .json(200, JSONWriter.document(page.slice(brands) { $0.account.accountId.description }))
    }

    func follow(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        try await commands.follow(try request.identifier("id"), by: caller.sub)
        return .empty()
    }

    func unfollow(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        try await commands.unfollow(try request.identifier("id"), by: caller.sub)
        return .empty()
    }
}

extension ListedBrand: JSONWritable {
    func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("brandId", account.accountId)
            $0.field("handle", optional: account.handle)
            $0.field("displayName", account.displayName)
            $0.field("isFollowed", isFollowed)
        }
    }
}

extension BrandCommands.Refusal: ProblemConvertible {
    var problem: Problem {
        switch self {
        case .noBrand: .notFound()
        }
    }
}
