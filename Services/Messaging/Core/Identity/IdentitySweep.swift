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
        try await relay.commit { step in
            let (now, transaction) = (step.now, step.transaction)
            try await SessionStorage.removeExpired(at: now, countMax: countMax, in: transaction)
            try await AttemptStorage.removeEnded(at: now, countMax: countMax, in: transaction)
            for session in try await SessionStorage.forgetEnded(at: now, countMax: countMax, in: transaction) {
                step.publishTombstone(.keys, key: session)
            }
        }
    }
}
