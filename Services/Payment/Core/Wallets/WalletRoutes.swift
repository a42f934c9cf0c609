// Routes of the caller's own wallet: what it holds, what came and went.
import HTTP
import JSON
import Models
import Postgres
import Security
import ServiceKit

struct WalletRoutes: Sendable {
    let postgres: PostgresPool

    static let noWallet = Problem.notFound("The account has no wallet, or it has not opened yet.")

    func balances(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        let balances = try WalletStatements.balanceRow.all(
            try await postgres.query(WalletStatements.balances(caller.sub)))
        guard !balances.isEmpty else { throw Self.noWallet }
        let byKind = Dictionary(grouping: balances, by: \.kind).mapValues { $0.map(\.amount) }
        var writer = JSONWriter()
        writer.object {
            $0.field("accountId", caller.sub)
            $0.field("balances", byKind[.wallet] ?? [])
            $0.field("proceeds", optional: byKind[.proceeds])
        }
        return .json(200, writer.bytes)
    }

    func entries(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        let page = try Page(request.query, of: "entries", [caller.sub.description])
        let before = try page.position { WalletStatements.EntryCursor($0) }
        let entries = try WalletStatements.entryRow.all(
            try await postgres.query(
                WalletStatements.entries(caller.sub, before: before, countMax: page.limit + 1)))
        return .json(200, JSONWriter.document(page.slice(entries) { $0.cursor.description }))
    }
}

extension WalletEntry: JSONWritable {
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
