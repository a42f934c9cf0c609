// Slows down whoever guesses, and whoever signs up by the thousand.
import Models
import Postgres
import Security

/// So many attempts at a thing by somebody within a window.
struct AttemptLimit: Sendable {
    static let windowSeconds: Int64 = 60

    let max: Int
    /// A digest of what and whose: no text that anybody chooses makes two of them meet.
    let name: [UInt8]

    /// The part after the count says how long the one before is: "ab" with "c" is not "a" with "bc".
    private init(_ what: StaticString, _ max: Int, _ whose: [String]) {
        self.max = max
        let parts = ["\(what)"] + whose
        name = Digest.sha256(parts.flatMap { Array("\($0.utf8.count):\($0)".utf8) })
    }

    /// Passwords tried for a handle from a network.
    static func password(_ handle: String, from network: String) -> AttemptLimit {
        AttemptLimit("password", 10, [handle.lowercased(), network])
    }
    /// Passwords tried from a network, whatever the handle.
    static func passwords(from network: String) -> AttemptLimit { AttemptLimit("passwords", 120, [network]) }
    /// The password asked for once more within a session.
    static func password(of account: AccountID) -> AttemptLimit {
        AttemptLimit("own password", 10, [account.description])
    }
    static func operatorSecret(from network: String) -> AttemptLimit { AttemptLimit("operator", 10, [network]) }
    static func signUps(_ max: Int, from network: String) -> AttemptLimit { AttemptLimit("sign-up", max, [network]) }
}

/// None of the attempts is left.
struct TooManyAttempts: Error, Equatable, Sendable {
    /// When the window ends.
    let retryAfterSeconds: Int
    let limit: Int
}

/// Counts attempts before the work that they cost, for all instances.
struct AttemptCommands: Sendable {
    let postgres: PostgresPool
    let now: @Sendable () -> Timestamp

    /// An attempt that was taken, to be given back when it was none.
    struct Taken: Sendable {
        fileprivate let name: [UInt8]
        fileprivate let endsAt: Timestamp
    }

    /// Takes one of the attempts that are left.
    /// - Throws: `TooManyAttempts`, and `PostgresError`.
    func take(_ limit: AttemptLimit) async throws -> Taken {
        let now = now()
        let ends = try await postgres.query(AttemptStatements.take(limit, at: now)).column(0, as: Timestamp.self)
        if let endsAt = ends.first { return Taken(name: limit.name, endsAt: endsAt) }
        let windowEnds = try await postgres.query(AttemptStatements.end(of: limit)).column(0, as: Timestamp.self)
        let wait = ((windowEnds.first ?? now).microseconds - now.microseconds + 999_999) / 1_000_000
        throw TooManyAttempts(
            retryAfterSeconds: Int(min(max(wait, 1), AttemptLimit.windowSeconds)), limit: limit.max)
    }

    /// Gives attempts back that failed at nothing. Not worth failing for: the window ends by itself.
    func giveBack(_ taken: [Taken]) async {
        for one in taken { _ = try? await postgres.execute(AttemptStatements.giveBack(one.name, endsAt: one.endsAt)) }
    }

    /// Takes an attempt at each, does the work, and gives them back where it says so or could not be done at all.
    /// - Parameter work: gives whether the attempt was a failure of whoever made it, beside what it found.
    func attempt<Found: Sendable>(
        _ limits: [AttemptLimit], _ work: () async throws -> (isFailure: Bool, found: Found)
    ) async throws -> Found {
        var taken: [Taken] = []
        do {
            for limit in limits { taken.append(try await take(limit)) }
            let (isFailure, found) = try await work()
            if !isFailure { await giveBack(taken) }
            return found
        } catch {
            await giveBack(taken)
            throw error
        }
    }
}
