// Follows brands.
import Models
import Postgres

struct BrandCommands: Sendable {
    enum Refusal: Error, Equatable, Sendable {
        case noBrand
    }

    let postgres: PostgresPool
    let now: @Sendable () -> Timestamp

    func follow(_ brand: BrandID, by account: AccountID) async throws {
        try await postgres.requireBrand(brand)
        try await postgres.execute(BrandStatements.follow(brand, by: account, at: now()))
    }

    func unfollow(_ brand: BrandID, by account: AccountID) async throws {
        try await postgres.requireBrand(brand)
        try await postgres.execute(BrandStatements.unfollow(brand, by: account))
    }
}

extension PostgresPool {
    /// - Throws: `noBrand` where it is none.
    func requireBrand(_ id: BrandID) async throws {
        if try await query(BrandStatements.isBrand(id)).isEmpty { throw BrandCommands.Refusal.noBrand }
    }
}
