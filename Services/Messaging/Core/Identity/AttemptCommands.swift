// Slows down whoever guesses, and whoever signs up by the thousand.
import HTTP
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

/// Counts attempts before the work that they cost, for all instances.
struct AttemptStorage: Sendable {
    let postgres: PostgresPool
    let now: @Sendable () -> Timestamp

    /// An attempt that was taken, to be given back when it was none.
    struct Taken: Sendable {
        fileprivate let name: [UInt8]
        fileprivate let endsAt: Timestamp
    }

    /// Takes one of the attempts that are left.
    /// - Throws: `Problem` 429 when there is none, and `PostgresError`.
    func take(_ limit: AttemptLimit) async throws -> Taken {
        let now = now()
        let rows = try await postgres.query(
            """
            INSERT INTO attempts AS attempt (name, taken, ends_at)
            VALUES (\(limit.name), 1, \(now.adding(seconds: AttemptLimit.windowSeconds)))
            ON CONFLICT (name) DO UPDATE SET
                taken = CASE WHEN attempt.ends_at <= \(now) THEN 1 ELSE attempt.taken + 1 END,
                ends_at = CASE WHEN attempt.ends_at <= \(now) THEN excluded.ends_at ELSE attempt.ends_at END
            WHERE attempt.ends_at <= \(now) OR attempt.taken < \(limit.max)
            RETURNING ends_at
            """)
        if let row = rows.first { return Taken(name: limit.name, endsAt: try row.get(0)) }
        let ends: Timestamp =
            try await postgres.query("SELECT ends_at FROM attempts WHERE name = \(limit.name)").first?.get(0) ?? now
        let wait = (ends.microseconds - now.microseconds + 999_999) / 1_000_000
        throw Problem.tooManyRequests(
            retryAfterSeconds: Int(min(max(wait, 1), AttemptLimit.windowSeconds)), limit: limit.max,
            "Too many attempts.")
    }

    /// Gives attempts back that failed at nothing. Not worth failing for: the window ends by itself.
    func giveBack(_ taken: [Taken]) async {
        for one in taken {
            _ = try? await postgres.execute(
                """
                UPDATE attempts SET taken = taken - 1
                WHERE name = \(one.name) AND ends_at = \(one.endsAt) AND taken > 0
                """)
        }
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

    /// Forgets up to `countMax` windows that have ended.
    static func removeEnded(at now: Timestamp, countMax: Int, in transaction: Transaction) async throws(PostgresError) {
        _ = try await transaction.execute(
            """
            DELETE FROM attempts WHERE name = ANY(ARRAY(
                SELECT name FROM attempts WHERE ends_at <= \(now)
                ORDER BY ends_at LIMIT \(countMax) FOR UPDATE SKIP LOCKED))
            """)
    }
}
