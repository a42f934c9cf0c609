// Signing up and in, sessions, passwords, profiles, leaving.
import EventPipeline
import HTTP
import JSON
import Models
import Postgres
import Security
import ServiceKit

/// Accounts and the sessions of their devices.
struct AccountRoutes: Sendable {
    let context: ServiceContext
    let door: Doorkeeper
    let relay: Relay
    let sessions: SessionDesk
    let attempts: AttemptStorage
    /// From one network.
    let signUpsPerMinute: Int
    private let accounts: AccountStorage

    init(
        _ context: ServiceContext, door: Doorkeeper, relay: Relay, sessions: SessionDesk, attempts: AttemptStorage,
        signUpsPerMinute: Int
    ) {
        self.context = context
        self.door = door
        self.relay = relay
        self.sessions = sessions
        self.attempts = attempts
        self.signUpsPerMinute = signUpsPerMinute
        accounts = AccountStorage(postgres: context.postgres)
    }

    var routes: [Route] {
        [
            Route(.post, "/v1/accounts") { try await signUp($0) },
            Route(.post, "/v1/operator/brands") { try await makeBrand($0) },
            Route(.post, "/v1/sessions") { try await signIn($0) },
            Route(.post, "/v1/sessions/refresh") { try await refresh($0) },
            Route(.get, "/v1/sessions") { try await list($0) },
            Route(.delete, "/v1/sessions") { try await endAll($0) },
            Route(.delete, "/v1/sessions/{id}") { try await end($0) },
            Route(.get, "/v1/accounts/me") { try await me($0) },
            Route(.delete, "/v1/accounts/me") { try await delete($0) },
            Route(.put, "/v1/accounts/me/password") { try await changePassword($0) },
            Route(.get, "/v1/accounts/{id}") { try await profile($0) },
        ]
    }

    private struct SignUp: Sendable {
        let handle: String
        let password: String
        let displayName: String
        let locale: String

        init(_ request: HTTPRequest) throws {
            self = try request.json { (json) throws(JSONError) in try SignUp(json) }
        }

        private init(_ json: JSONValue) throws(JSONError) {
            try json.onlyMembers(["handle", "password", "displayName", "locale"])
            handle = try json.handle()
            password = try json.newPassword("password")
            displayName = try json.displayName()
            locale = try json.languageTag("locale")
        }

        /// Without the password: a digest of it would be easy to guess. It is checked as at a sign-in.
        func command(
            of request: HTTPRequest, kind: AccountKind, by sender: AccountID = IdempotentCommand.nobody
        ) throws -> IdempotentCommand? {
            try IdempotentCommand.optional(
                request, by: sender, name: kind.rawValue, content: JSONWriter.document([handle, displayName, locale]))
        }
    }

    private func signUp(_ request: HTTPRequest) async throws -> HTTPResponse {
        let wanted = try SignUp(request)
        let command = try wanted.command(of: request, kind: .person)
        if let again = try await signUpAgain(wanted, command, request) { return again }
        // Before anything that costs: whoever signs up by the thousand is told to wait.
        let taken = try await attempts.take(.signUps(signUpsPerMinute, from: request.remoteNetwork))
        guard !AccountRules.reservedHandles.contains(wanted.handle) else {
            throw Problem.conflict(type: "handle-taken", "The handle \(wanted.handle) is reserved.")
        }
        do {
            return try await open(wanted, kind: .person, command, request)
        } catch let error as PasswordHash.Failure {
            await attempts.giveBack([taken])
            throw error
        }
    }

    private func makeBrand(_ request: HTTPRequest) async throws -> HTTPResponse {
        let claims = try door.operator(request)
        let wanted = try SignUp(request)
        let command = try wanted.command(of: request, kind: .brand, by: claims.sub)
        if let again = try await signUpAgain(wanted, command, request) { return again }
        return try await open(wanted, kind: .brand, command, request)
    }

    private func open(
        _ wanted: SignUp, kind: AccountKind, _ command: IdempotentCommand?, _ request: HTTPRequest
    ) async throws -> HTTPResponse {
        let handle = wanted.handle
        let isTaken = Problem.conflict(type: "handle-taken", "The handle \(handle) is taken.")
        // Asked before the hash, which costs; the table's key decides afterwards.
        guard try await accounts.account(handle: handle) == nil else { throw isTaken }
        let hash = try await PasswordHash.make(wanted.password)
        let account = Account(
            accountId: context.newID(), kind: kind, handle: handle, displayName: wanted.displayName,
            locale: wanted.locale, createdAt: context.now())
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
            throw isTaken
        }
        if !isNew { return try await signInAgain(wanted, request) }
        return try sessions.answer(201, opening, account)
            .with("Location", "/v1/accounts/\(account.accountId)")
    }

    /// What the same command was answered before; nil where it is a new one.
    private func signUpAgain(
        _ wanted: SignUp, _ command: IdempotentCommand?, _ request: HTTPRequest
    ) async throws -> HTTPResponse? {
        guard let command, try await context.postgres.keptAnswer(of: command) != nil else { return nil }
        return try await signInAgain(wanted, request)
    }

    /// The account that the same command made before, with a session of its own.
    private func signInAgain(_ wanted: SignUp, _ request: HTTPRequest) async throws -> HTTPResponse {
        guard let signedIn = try await signIn(wanted.handle, wanted.password, request) else {
            throw IdempotencyRefusal.reused
        }
        return signedIn.answer.with("Location", "/v1/accounts/\(signedIn.account)")
    }

    private func signIn(_ request: HTTPRequest) async throws -> HTTPResponse {
        let (handle, password) = try request.json { (json) throws(JSONError) in
            try json.onlyMembers(["handle", "password"])
            return (
                try json.string("handle", bytesMax: AccountRules.handleBytes.upperBound),
                try json.password("password")
            )
        }
        guard let signedIn = try await signIn(handle, password, request) else {
            throw Problem.wrongCredentials("Handle or password is wrong")
        }
        return signedIn.answer
    }

    /// - Returns: nil where handle or password is wrong.
    private func signIn(
        _ handle: String, _ password: String, _ request: HTTPRequest
    ) async throws -> (answer: HTTPResponse, account: AccountID)? {
        let network = request.remoteNetwork
        // A handle that nobody has is answered like a wrong password, and costs the same.
        let name = AccountRules.handle(handle)
        let found = try await attempts.attempt([.passwords(from: network), .password(handle, from: network)]) {
            () -> (isFailure: Bool, found: (AccountStorage.SignIn, PasswordHash.Verdict)?) in
            var found: AccountStorage.SignIn?
            if let name { found = try await accounts.account(handle: name) }
            let verdict = try await PasswordHash.verify(password, against: found?.passwordHash)
            guard verdict.isRight, let found else { return (isFailure: true, found: nil) }
            return (isFailure: false, found: (found, verdict))
        }
        guard let (found, verdict) = found else { return nil }
        let (account, old) = (found.account, found.passwordHash)
        // At the next sign-in, if too many are at it now.
        let new = verdict == .rightAndOutdated ? try? await PasswordHash.make(password) : nil
        let opening = sessions.open(account.accountId, device: sessions.device(of: request))
        do {
            try await sessions.store(opening) { transaction in
                guard let new else { return }
                _ = try await AccountStorage.replacePasswordHash(old, by: new, of: account.accountId, in: transaction)
            }
        } catch let error as PostgresError where error.sqlState == PostgresError.foreignKeyViolation {
            // The account was deleted meanwhile.
            return nil
        }
        return (try sessions.answer(201, opening, account), account.accountId)
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
        guard try await sessions.end(.one(id), of: claims.sub) > 0 else { throw Problem.notFound() }
        return .empty()
    }

    private func endAll(_ request: HTTPRequest) async throws -> HTTPResponse {
        let claims = try door.member(request)
        try await sessions.end(.all, of: claims.sub)
        return .empty()
    }

    private func me(_ request: HTTPRequest) async throws -> HTTPResponse {
        let claims = try door.member(request)
        guard let account = try await accounts.account(claims.sub) else { throw Problem.notFound() }
        return Representation.document { Representation.write(account, to: &$0) }
    }

    private func changePassword(_ request: HTTPRequest) async throws -> HTTPResponse {
        let claims = try door.member(request)
        let (current, wanted) = try request.json { (json) throws(JSONError) in
            try json.onlyMembers(["currentPassword", "newPassword"])
            return (try json.password("currentPassword"), try json.newPassword("newPassword"))
        }
        guard let old = try await check(current, of: claims.sub) else {
            throw Problem.conflict(type: "no-password", "This account signs in by an identity provider.")
        }
        let new = try await PasswordHash.make(wanted)
        try await sessions.end(.allBut(claims.sid), of: claims.sub) { step in
            guard
                try await AccountStorage.replacePasswordHash(old, by: new, of: claims.sub, in: step.transaction)
            else { throw Problem.wrongPassword() }
        }
        return .empty()
    }

    private func delete(_ request: HTTPRequest) async throws -> HTTPResponse {
        let claims = try door.caller(request)
        try claims.require(.person)
        let password = try request.json { (json) throws(JSONError) -> String? in
            try json.onlyMembers(["password"])
            return json["password"] == nil ? nil : try json.password("password")
        }
        _ = try await check(password, of: claims.sub)
        try await sessions.end(
            .all, of: claims.sub,
            last: { step in
                // Another request may have been first: then it is as it should be.
                let deleted = try await AccountStorage.delete(claims.sub, at: step.now, in: step.transaction)
                if let deleted { step.publish(deleted, cause: request.trace) }
            })
        return .empty()
    }

    /// Asks for the account's password once more.
    /// - Returns: its hash; nil where the account has none, and whatever was said is as good.
    private func check(_ password: String?, of account: AccountID) async throws -> String? {
        guard let stored = try await accounts.passwordHash(of: account).first else { throw Problem.notFound() }
        guard let hash = stored else { return nil }
        guard let password else {
            throw Problem.badRequest(fields: [FieldProblem("password", expected: "the account's password")])
        }
        let isRight = try await attempts.attempt([.password(of: account)]) {
            let isRight = try await PasswordHash.verify(password, against: hash).isRight
            return (isFailure: !isRight, found: isRight)
        }
        guard isRight else { throw Problem.wrongPassword() }
        return hash
    }

    private func profile(_ request: HTTPRequest) async throws -> HTTPResponse {
        _ = try door.caller(request)
        guard let account = try await accounts.account(try request.identifier("id")) else { throw Problem.notFound() }
        return Representation.document { Representation.writeProfile(account, to: &$0) }
    }
}
