// Opens, continues and ends sessions.
import EventPipeline
import HTTP
import JSON
import Models
import Postgres
import Security
import ServiceKit

final class SessionDesk: Sendable {
    private let context: ServiceContext
    private let relay: Relay
    private let keys: KeyRing
    private let root: RootSecret
    private let tokenSeconds: Int64

    init(_ context: ServiceContext, relay: Relay, keys: KeyRing, root: RootSecret, tokenSeconds: Int64) {
        self.context = context
        self.relay = relay
        self.keys = keys
        self.root = root
        self.tokenSeconds = tokenSeconds
    }

    /// A session that is about to be stored, and the refresh token that nobody but its device will know.
    struct Opening: Sendable {
        let sessionID: SessionID
        let account: AccountID
        let device: String
        let refreshToken: String
        let now: Timestamp

        func store(in transaction: Transaction) async throws(PostgresError) {
            try await SessionStorage.insert(
                sessionID, of: account, device: device, refreshDigest: SessionDesk.digest(refreshToken), at: now,
                in: transaction)
        }
    }

    func open(_ account: AccountID, device: String) -> Opening {
        Opening(
            sessionID: context.newID(), account: account, device: device, refreshToken: Random.token(),
            now: context.now())
    }

    /// Stores the session of an account that has others: beyond so many the last of them ends.
    /// - Parameter body: what else the transaction does.
    func store(_ opening: Opening, _ body: @escaping @Sendable (Transaction) async throws -> Void) async throws {
        let isSurplus = try await context.postgres.transaction { transaction in
            try await opening.store(in: transaction)
            try await body(transaction)
            return try await SessionStorage.hasSurplus(opening.account, in: transaction)
        }
        // Where too much waits for Kafka this is for the next sign-in.
        if isSurplus { _ = try? await end(.surplus, of: opening.account) }
    }

    func answer(_ status: Int, _ opening: Opening, _ account: Account) throws -> HTTPResponse {
        let token = try keys.issue(
            account.accountId, kind: account.kind, session: opening.sessionID, at: opening.now)
        return Representation.document(status) { writer in
            writer.object {
                $0.name("account")
                Representation.write(account, to: &$0)
                writeTokens(token, opening.refreshToken, to: &$0)
            }
        }
    }

    /// Ends sessions of an account: their refresh tokens are gone, their access tokens are refused everywhere.
    /// - Parameter first: what the transaction does before.
    /// - Returns: how many there were.
    @discardableResult
    func end(
        _ choice: SessionStorage.Choice, of account: AccountID,
        first: @escaping @Sendable (Step) async throws -> Void = { _ in },
        last: @escaping @Sendable (Step) async throws -> Void = { _ in }
    ) async throws -> Int {
        let (keys, tokenSeconds) = (keys, tokenSeconds)
        let ended = try await relay.commit { step in
            try await first(step)
            let ended = try await SessionStorage.end(
                choice, of: account, at: step.now, tokenSeconds: tokenSeconds, in: step.transaction)
            keys.publish(ended, in: step)
            try await last(step)
            return ended
        }
        keys.refuse(ended)
        return ended.count
    }

    func refresh(_ token: String) async throws -> HTTPResponse {
        let now = context.now()
        // What follows from the token is the same however often it is asked for.
        let next = Base64URL.encode(root.derive(from: token.utf8))
        let (digest, nextDigest) = (Self.digest(token), Self.digest(next))
        let outcome = try await context.postgres.transaction { transaction in
            try await SessionStorage.refresh(digest: digest, with: nextDigest, at: now, in: transaction)
        }
        switch outcome {
        case .refreshed(let session, let account, let kind):
            let access = try keys.issue(account, kind: kind, session: session, at: now)
            return Representation.document { writer in
                writer.object { writeTokens(access, next, to: &$0) }
            }
        case .reused(let session, let account):
            context.log.warning(
                "a refresh token came a second time: its session is ended", ["session_id": "\(session)"])
            try await end(.one(session), of: account)
            throw Problem.refreshTokenRefused("It was used before. The session has been ended.")
        case .unknown:
            throw Problem.refreshTokenRefused("It is of no session that can still be used.")
        }
    }

    private static func digest(_ token: String) -> [UInt8] { Digest.sha256(token.utf8) }

    private func writeTokens(_ access: String, _ refresh: String, to writer: inout JSONWriter) {
        writer.field("accessToken", access)
        writer.field("refreshToken", refresh)
        writer.field("expiresInSeconds", tokenSeconds)
    }

    /// What a list of sessions calls the device.
    func device(of request: HTTPRequest) -> String {
        let agent = request.header("User-Agent") ?? ""
        let text = String(agent.unicodeScalars.filter { $0.value >= 32 }.prefix(AccountRules.deviceBytesMax / 4))
        return text.isEmpty ? "unknown" : text
    }
}

extension Problem {
    /// Signing in failed. What exactly was wrong, or whether there is such a handle, it does not say.
    static func wrongCredentials(_ title: String) -> Problem {
        var problem = Problem(401, type: "wrong-credentials", title: title)
        problem.headers = [("WWW-Authenticate", "Bearer")]
        return problem
    }

    static func refreshTokenRefused(_ detail: String) -> Problem {
        var problem = Problem(
            401, type: "refresh-token-refused", title: "The refresh token is not valid", detail: detail)
        problem.headers = [("WWW-Authenticate", "Bearer")]
        return problem
    }

    /// The password that is asked for once more within a session. The access token is fine, so it is no 401.
    static func wrongPassword() -> Problem {
        Problem(403, type: "wrong-password", title: "The password is wrong")
    }
}
