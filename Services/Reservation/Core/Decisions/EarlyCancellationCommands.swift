// Ends orders that were decided in the same moment in which their cancellations were put down.
import EventPipeline
import Models
import Postgres

struct EarlyCancellationCommands: Sendable {
    let relay: Relay
    let postgres: PostgresPool
    let settlement: SettlementCommands

    /// True when there may be more.
    func endMissed() async throws -> Bool {
        guard try await postgres.query(EarlyCancellationStatements.anyOpen).first != nil else { return false }
        try await relay.commit { unit in
            let missed = try EarlyCancellationStatements.missedRow.all(
                try await unit.transaction.query(EarlyCancellationStatements.lockMissed))
            try await settlement.cancel(
                Dictionary(missed.map { ($0.order, $0.hasUnit) }, uniquingKeysWith: { $1 }), unit)
        }
        // A transaction of its own: see the statement.
        return try await postgres.execute(EarlyCancellationStatements.settle) == EarlyCancellationStatements.openMax
    }
}
