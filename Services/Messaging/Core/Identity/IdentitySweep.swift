// Removes what has served its time: sessions, refresh tokens, counted attempts, and the news of ended sessions.
import EventPipeline
import Models
import Runtime
import ServiceKit

/// Once a minute in every instance; what another one is removing is left to it.
final class IdentitySweep: Component {
    let name = "identity sweep"

    /// Of each kind in one round.
    private static let countMax = 10_000
    private static let checkSeconds = 60

    private let sweeping: Periodic

    init(_ context: ServiceContext, relay: Relay) {
        sweeping = Periodic.watched("identity sweep", every: .seconds(Self.checkSeconds), context) {
            try await Self.sweep(relay)
        }
    }

    func start() async throws { sweeping.start() }
    func stop() async { await sweeping.stop() }

    static func sweep(_ relay: Relay) async throws {
        try await relay.commit { unit in
            let (now, transaction) = (unit.now, unit.transaction)
            transaction.finish(SessionStatements.removeExpired(at: now, countMax: countMax))
            transaction.finish(AttemptStatements.removeEnded(at: now, countMax: countMax))
            let ended = try await transaction.query(SessionStatements.forgetEnded(at: now, countMax: countMax))
            for session in try ended.column(0, as: SessionID.self) { unit.publishTombstone(.keys, key: session) }
        }
    }
}
