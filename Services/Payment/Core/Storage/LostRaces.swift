// Transactions that lost a race against another.
import Postgres

/// Does the work again when it lost a race against another transaction: it has changed nothing.
func retryingLostRaces<Result: Sendable>(
    _ work: @Sendable () async throws -> Result
) async throws -> Result {
    for _ in 0..<4 {
        do {
            return try await work()
        } catch let error as PostgresError where error.isRetriable && !error.isUnavailable {
            continue
        }
    }
    return try await work()
}
