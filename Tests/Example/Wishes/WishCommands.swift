// What members do with their wishes.
import Models
import Postgres

struct WishCommands: Sendable {
    let postgres: PostgresPool

    func list(of account: AccountID) async throws -> [Wish] {
        try WishStatements.wishRow.all(await postgres.query(WishStatements.list(account)))
    }

    /// - Throws: `WishRules.Refusal`.
    func put(_ sale: SaleID, by account: AccountID) async throws {
        try await postgres.retryingTransaction { transaction in
            let rows = try await transaction.pipeline([WishStatements.lock(account), WishStatements.list(account)])
            try WishRules.check(sale, others: Set(WishStatements.wishRow.all(rows[1]).map(\.sale)))
            transaction.finish(WishStatements.insert(account, sale))
        }
    }
}
