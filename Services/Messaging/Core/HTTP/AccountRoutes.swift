// Signing up and in, sessions, profiles.
import EventPipeline
import HTTP
import JSON
import Models
import Postgres
import Security
import ServiceKit
import Synchronization

/// Accounts and the sessions of their devices.
struct AccountRoutes: Sendable {
    let context: ServiceContext
    let door: Doorkeeper
    let relay: Relay
    let sessions: SessionDesk
    private let accounts: AccountStorage

    init(_ context: ServiceContext, door: Doorkeeper, relay: Relay, sessions: SessionDesk) {
        self.context = context
        self.door = door
        self.relay = relay
        self.sessions = sessions
        accounts = AccountStorage(postgres: context.postgres)
    }

    var routes: [Route] {
        [
            Route(.post, "/v1/accounts") { try await signUp($0, kind: .person) },
            Route(.post, "/v1/operator/brands") { request in
                let claims = try door.operator(request)
                return try await signUp(request, kind: .brand, by: claims.sub)
            },
            Route(.post, "/v1/sessions") { try await signIn($0) },
            Route(.post, "/v1/sessions/refresh") { try await refresh($0) },
            Route(.get, "/v1/sessions") { try await list($0) },
            Route(.delete, "/v1/sessions/{id}") { try await end($0) },
            Route(.get, "/v1/accounts/me") { try await me($0) },
            Route(.get, "/v1/accounts/{id}") { try await profile($0) },
        ]
    }

    private func signUp(
        _ request: HTTPRequest, kind: AccountKind, by sender: AccountID = IdempotentCommand.nobody
    ) async throws -> HTTPResponse {
        let (handle, password, displayName, locale) = try request.json { (json) throws(JSONError) in
            try json.onlyMembers(["handle", "password", "displayName", "locale"])
            return (try json.handle(), try json.newPassword(), try json.displayName(), try json.locale())
        }
        // Without the password: a digest of it would be easy to guess. It is checked as at a sign-in.
        let command = try IdempotentCommand.optional(
            request, by: sender, name: kind.rawValue, content: JSONWriter.document([handle, displayName, locale]))
        if let command, try await context.postgres.keptAnswer(of: command) != nil {
            return try await signUpAgain(handle, password, request)
        }
        let hash = try await sessions.hash(password)
        let account = Account(
            accountId: context.newID(), kind: kind, handle: handle, displayName: displayName, locale: locale,
            createdAt: context.now())
        let opening = sessions.open(account.accountId, device: sessions.device(of: request))
        let isNew: Bool
        do {
            isNew = try await relay.commit { step in
                try await step.transaction.once(command) {
                    try await AccountStorage.insert(account, passwordHash: hash, in: step.transaction)
                    try await opening.store(in: step.transaction)
                    step.publish(account, cause: request.trace)
                    // No token is kept: whoever sends the same again gets one of its own.
                    return KeptAnswer(status: 201, location: "/v1/accounts/\(account.accountId)", body: [])
                }.isNew
            }
        } catch let error as PostgresError where error.isUniqueViolation {
            throw Problem.conflict(type: "handle-taken", "The handle \(handle) is taken.")
        }
        if !isNew { return try await signUpAgain(handle, password, request) }
        return try sessions.answer(201, opening, account)
            .with("Location", "/v1/accounts/\(account.accountId)")
    }

    /// The account that the same command made before, with a session of its own. Counted like a sign-in.
    private func signUpAgain(
        _ handle: String, _ password: String, _ request: HTTPRequest
    ) async throws -> HTTPResponse {
        let name = "\(handle) \(request.remoteAddress)"
        try sessions.admit(name)
        let found = try await accounts.account(handle: handle)
        guard try await sessions.verify(password, against: found?.passwordHash), let found else {
            sessions.failed(name)
            throw IdempotentCommand.reused
        }
        let opening = sessions.open(found.account.accountId, device: sessions.device(of: request))
        try await context.postgres.transaction { try await opening.store(in: $0) }
        return try sessions.answer(201, opening, found.account)
            .with("Location", "/v1/accounts/\(found.account.accountId)")
    }

    private func signIn(_ request: HTTPRequest) async throws -> HTTPResponse {
        let (handle, password) = try request.json { (json) throws(JSONError) in
            try json.onlyMembers(["handle", "password"])
            return (
                try json.string("handle", bytesMax: AccountRules.handleBytes.upperBound),
                try json.string("password", bytesMax: AccountRules.passwordBytes.upperBound)
            )
        }
        let name = "\(handle.lowercased()) \(request.remoteAddress)"
        try sessions.admit(name)
        // A handle that nobody has is answered like a wrong password, and costs the same.
        let found = try await AccountRules.handle(handle).asyncFlatMap { try await accounts.account(handle: $0) }
        guard try await sessions.verify(password, against: found?.passwordHash), let found else {
            sessions.failed(name)
            throw Problem.unauthorized("Handle or password is wrong.")
        }
        sessions.succeeded(name)
        let opening = sessions.open(found.account.accountId, device: sessions.device(of: request))
        try await context.postgres.transaction { try await opening.store(in: $0) }
        return try sessions.answer(201, opening, found.account)
    }

    private func refresh(_ request: HTTPRequest) async throws -> HTTPResponse {
        let token = try request.json { (json) throws(JSONError) in
            try json.onlyMembers(["refreshToken"])
            return try json.string("refreshToken", bytesMax: 200)
        }
        return try await sessions.refresh(token)
    }

    private func list(_ request: HTTPRequest) async throws -> HTTPResponse {
        let claims = try door.member(request)
        let storage = SessionStorage(postgres: context.postgres)
        let active = try await storage.active(of: claims.sub, at: context.now(), limit: 100)
        return Representation.page(active, next: nil) { session, writer in
            writer.object {
                $0.field("sessionId", session.sessionID)
                $0.field("device", session.device)
                $0.field("createdAt", session.createdAt)
                $0.field("lastUsedAt", session.lastUsedAt)
                $0.field("expiresAt", session.expiresAt)
                $0.field("isCurrent", session.sessionID == claims.sid)
            }
        }
    }

    private func end(_ request: HTTPRequest) async throws -> HTTPResponse {
        let claims = try door.member(request)
        let id = try request.identifier("id", of: SessionID.self)
        let storage = SessionStorage(postgres: context.postgres)
        guard try await storage.end(id, of: claims.sub, at: context.now()) else { throw Problem.notFound() }
        return .empty()
    }

    private func me(_ request: HTTPRequest) async throws -> HTTPResponse {
        let claims = try door.member(request)
        guard let account = try await accounts.account(claims.sub) else { throw Problem.notFound() }
        return Representation.document { Representation.write(account, to: &$0) }
    }

    private func profile(_ request: HTTPRequest) async throws -> HTTPResponse {
        _ = try door.caller(request)
        guard let account = try await accounts.account(try request.identifier("id")) else { throw Problem.notFound() }
        return Representation.document { Representation.writeProfile(account, to: &$0) }
    }
}

extension Optional {
    fileprivate func asyncFlatMap<Value>(_ body: (Wrapped) async throws -> Value?) async rethrows -> Value? {
        guard let self else { return nil }
        return try await body(self)
    }
}

/// Opens, continues and ends sessions, and keeps guessers waiting.
final class SessionDesk: Sendable {
    /// A device that is not used for so long signs in again.
    static let refreshSeconds: Int64 = 30 * 86_400
    /// Wrong passwords within a minute.
    static let failuresMax = 10

    private let context: ServiceContext
    private let keys: KeyRing
    private let tokenSeconds: Int64
    private let attempts = Mutex(
        AttemptLimiter(failuresMax: SessionDesk.failuresMax, windowSeconds: 60, namesMax: 10_000))

    init(_ context: ServiceContext, keys: KeyRing, tokenSeconds: Int64) {
        self.context = context
        self.keys = keys
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
                sessionID, of: account, device: device, refreshDigest: Digest.sha256(Array(refreshToken.utf8)),
                at: now, expiresAt: now.adding(seconds: SessionDesk.refreshSeconds), in: transaction)
        }
    }

    func open(_ account: AccountID, device: String) -> Opening {
        Opening(
            sessionID: context.newID(), account: account, device: device, refreshToken: Random.token(),
            now: context.now())
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

    func refresh(_ token: String) async throws -> HTTPResponse {
        let now = context.now()
        let next = Random.token()
        let digest = Digest.sha256(Array(token.utf8))
        let nextDigest = Digest.sha256(Array(next.utf8))
        let outcome = try await context.postgres.transaction { transaction in
            try await SessionStorage.refresh(
                digest: digest, with: nextDigest, at: now, expiresAt: now.adding(seconds: Self.refreshSeconds),
                in: transaction)
        }
        switch outcome {
        case .refreshed(let session, let account, let kind):
            let access = try keys.issue(account, kind: kind, session: session, at: now)
            return Representation.document { writer in
                writer.object { writeTokens(access, next, to: &$0) }
            }
        case .reused(let session):
            context.log.warning(
                "a refresh token came a second time: its session was ended", ["session_id": "\(session)"])
            throw Problem.unauthorized("The refresh token was used before. The session has been ended.")
        case .unknown:
            throw Problem.unauthorized("The refresh token is not valid.")
        }
    }

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

    // MARK: Passwords

    func hash(_ password: String) async throws -> String { try await PasswordHash.make(password) }

    /// Against no hash it costs the same and is false.
    func verify(_ password: String, against hash: String?) async throws -> Bool {
        try await PasswordHash.verify(password, against: hash)
    }

    func admit(_ name: String) throws(Problem) {
        let now = context.now()
        if let seconds = attempts.withLock({ $0.waitSeconds(name, at: now) }) {
            throw .tooManyRequests(
                retryAfterSeconds: seconds, limit: Self.failuresMax, "Too many failed attempts.")
        }
    }

    func failed(_ name: String) {
        let now = context.now()
        attempts.withLock { $0.failed(name, at: now) }
    }

    func succeeded(_ name: String) { attempts.withLock { $0.succeeded(name) } }
}
