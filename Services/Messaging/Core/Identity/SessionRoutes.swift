// Routes of sessions: signing in by a password, refreshing, signing out.
import HTTP
import JSON
import Models
import Security
import ServiceKit

struct SessionRoutes: Sendable {
    private static let refreshTokenBytesMax = 200

    let context: ServiceContext
    let commands: SessionCommands
    let signIns: SignInCommands

    func signIn(_ request: HTTPRequest) async throws -> HTTPResponse {
        let (handle, password, place) = try request.json { (json) throws(JSONError) in
            try json.onlyMembers(["handle", "password", "refreshTokenIn"])
            return (
                try json.string("handle", bytesMax: AccountRules.handleBytes.upperBound),
                try json.password("password"), try json.refreshTokenPlace()
            )
        }
        try request.require(place)
        guard let signedIn = try await signIns.signIn(handle, password, from: Client(request)) else {
            throw Problem.wrongCredentials("Handle or password is wrong")
        }
        return .json(201, JSONWriter.document(SignedInView(signedIn: signedIn, place: place)))
            .withRefreshToken(signedIn.tokens, in: place)
    }

    /// A token comes back by the way it came.
    func refresh(_ request: HTTPRequest) async throws -> HTTPResponse {
        let named = try request.json { (json) throws(JSONError) -> String? in
            try json.onlyMembers(["refreshToken"])
            guard json["refreshToken"] != nil else { return nil }
            return try json.string("refreshToken", bytesMax: Self.refreshTokenBytesMax)
        }
        let place = named == nil ? RefreshTokenPlace.cookie : .body
        do {
            guard let token = try named ?? RefreshCookie.token(of: request) else {
                throw Problem.badRequest(fields: [
                    FieldProblem("refreshToken", expected: "the token, here or in the cookie \(RefreshCookie.name)")
                ])
            }
            guard token.utf8.count <= Self.refreshTokenBytesMax else { throw SessionCommands.RefreshRefusal.unknown }
            let tokens = try await commands.refresh(token)
            return .json(200, JSONWriter.document(TokensView(tokens: tokens, place: place)))
                .withRefreshToken(tokens, in: place)
        } catch let refusal as SessionCommands.RefreshRefusal where place == .cookie {
            var problem = refusal.problem
            problem.headers.append(("Set-Cookie", RefreshCookie.cleared))
            throw problem
        }
    }

    func list(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        let rows = try await context.postgres.query(SessionStatements.active(of: caller.sub, at: context.now()))
        let sessions = try SessionStatements.sessionRow.all(rows).map {
            SessionView(session: $0, isCurrent: $0.sessionId == caller.sid)
        }
        return .json(200, JSONWriter.document(Page.Slice(sessions, nextCursor: nil)))
    }

    func end(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        let isOwn = request.pathParameters["id"] == "current"
        let id = isOwn ? caller.sid : try request.identifier("id", of: SessionID.self)
        guard try await commands.end(.one(id), of: caller.sub) > 0 else { throw Problem.notFound() }
        return id == caller.sid ? .empty().withoutRefreshCookie : .empty()
    }

    func endAll(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        try await commands.end(.all, of: caller.sub)
        return .empty().withoutRefreshCookie
    }
}

extension SessionCommands.RefreshRefusal: ProblemConvertible {
    var problem: Problem {
        switch self {
        case .unknown: Self.problem("It is of no session that can still be used.")
        case .usedBefore: Self.problem("It was used before. The session has been ended.")
        }
    }

    private static func problem(_ detail: String) -> Problem {
        var problem = Problem(
            401, type: "refresh-token-refused", title: "The refresh token is not valid", detail: detail)
        problem.headers = [("WWW-Authenticate", "Bearer")]
        return problem
    }
}

extension PasswordRefusal: ProblemConvertible {
    var problem: Problem {
        switch self {
        case .noAccount: .notFound()
        case .needed: .badRequest(fields: [FieldProblem("password", expected: "the account's password")])
        // The access token is fine, so it is no 401.
        case .wrong: Problem(403, type: "wrong-password", title: "The password is wrong")
        case .noPassword: .conflict(type: "no-password", "This account signs in by an identity provider.")
        }
    }
}

extension TooManyAttempts: ProblemConvertible {
    var problem: Problem {
        .tooManyRequests(retryAfterSeconds: retryAfterSeconds, limit: limit, "Too many attempts.")
    }
}

extension NoSigningKey: ProblemConvertible {
    var problem: Problem { .unavailable(retryAfterSeconds: 1, "No key to sign with yet.") }
}

extension Problem {
    /// Signing in failed. What exactly was wrong, or whether there is such a handle, it does not say.
    static func wrongCredentials(_ title: String) -> Problem {
        var problem = Problem(401, type: "wrong-credentials", title: title)
        problem.headers = [("WWW-Authenticate", "Bearer")]
        return problem
    }
}
