// A line of a feature's table of routes: what is asked, who may ask, who answers.
import HTTP
import Models
import Security

/// Who may ask.
public enum Callers: Sendable {
    /// Whoever has an access token.
    case authenticated
    /// Who has an account: people and brands.
    case members
    case people
    case brands
    case operators

    var kinds: [AccountKind] {
        switch self {
        case .authenticated: AccountKind.allCases
        case .members: [.person, .brand]
        case .people: [.person]
        case .brands: [.brand]
        case .operators: [.operator]
        }
    }
}

/// Whoever asks, with a token or without.
public enum Everybody: Sendable { case everybody }

/// A route of a service. Its handler is given the caller's claims, which it cannot get in any other way: none can forget to
/// ask who it is.
public struct Endpoint: Sendable {
    public typealias Handler = @Sendable (HTTPRequest, AccessClaims) async throws -> HTTPResponse
    public typealias PublicHandler = @Sendable (HTTPRequest) async throws -> HTTPResponse

    /// Longer bodies are read only when the head shows that its sender may send one.
    static let unaskedBodyBytesMax = 128 << 10
    public static let bodyBytesDefault = 16 << 10

    public let method: HTTPMethod
    public let pattern: String
    public let bodyBytesMax: Int
    /// Nil: everybody, with a token or without.
    public let callers: Callers?
    private let computes: Bool
    private let isCached: Bool
    private let handler: @Sendable (HTTPRequest, Authenticator) async throws -> HTTPResponse

    /// - Parameters:
    ///   - bodyBytesMax: a longer body is answered 413 without being read.
    ///   - computes: the handler computes for milliseconds, and runs on the shared pool of threads.
    public init(
        _ method: HTTPMethod, _ pattern: String, for callers: Callers, bodyBytesMax: Int = bodyBytesDefault,
        computes: Bool = false, _ handler: @escaping Handler
    ) {
        self.init(method, pattern, callers, bodyBytesMax, computes, isCached: true) { request, authenticator in
            try await handler(request, authenticator.caller(of: request, among: callers))
        }
    }

    /// A route for everybody, whose handler is not told who it is.
    public init(
        _ method: HTTPMethod, _ pattern: String, for everybody: Everybody, bodyBytesMax: Int = bodyBytesDefault,
        computes: Bool = false, _ handler: @escaping PublicHandler
    ) {
        self.init(method, pattern, nil, bodyBytesMax, computes, isCached: true) { request, _ in
            try await handler(request)
        }
    }

    private init(
        _ method: HTTPMethod, _ pattern: String, _ callers: Callers?, _ bodyBytesMax: Int, _ computes: Bool,
        isCached: Bool, handler: @escaping @Sendable (HTTPRequest, Authenticator) async throws -> HTTPResponse
    ) {
        self.method = method
        self.pattern = pattern
        self.callers = callers
        self.bodyBytesMax = bodyBytesMax
        self.computes = computes
        self.isCached = isCached
        self.handler = handler
    }

    /// The same, whose answers nobody may keep, a browser's cache included.
    public var uncached: Endpoint {
        Endpoint(method, pattern, callers, bodyBytesMax, computes, isCached: false, handler: handler)
    }

    func route(_ authenticator: Authenticator) -> Route {
        let (handler, callers) = (handler, callers)
        var route = Route(method, pattern, bodyBytesMax: bodyBytesMax, computes: computes) { request in
            try await handler(request, authenticator)
        }
        if let callers, bodyBytesMax > Self.unaskedBodyBytesMax {
            route = route.admitting { _ = try authenticator.caller(of: $0, among: callers) }
        }
        return isCached ? route : route.answering { $1.with("Cache-Control", "no-store") }
    }
}

/// Tells who sends a request, by the token that it bears.
struct Authenticator: Sendable {
    let verifier: TokenVerifier
    let now: @Sendable () -> Timestamp

    /// - Throws: `Problem` 401 that says what is wrong with the token, and nothing about whose it is; 403 where the account
    ///   is of another kind; 429 where it asks too often.
    func caller(of request: HTTPRequest, among callers: Callers) throws(Problem) -> AccessClaims {
        guard let token = request.bearerToken else {
            throw Self.unauthorized(challenge: "Bearer", "Send an access token: Authorization: Bearer …")
        }
        let claims: AccessClaims
        do {
            claims = try verifier.verify(token, now: now())
        } catch {
            throw Self.unauthorized(
                challenge: #"Bearer error="invalid_token""#, "The access token was refused: \(error.reason).")
        }
        try request.count(callerHigh: claims.sub.high, low: claims.sub.low)
        guard callers.kinds.contains(claims.kind) else {
            throw .forbidden("Only for: \(callers.kinds.map(\.rawValue).joined(separator: ", ")).")
        }
        return claims
    }

    /// 401 with a challenge of RFC 6750 that says more than the plain one.
    private static func unauthorized(challenge: String, _ detail: String) -> Problem {
        var problem = Problem.unauthorized(detail)
        problem.headers = [("WWW-Authenticate", challenge)]
        return problem
    }
}

extension TokenError {
    /// For the caller: what the library said of its insides stays here.
    fileprivate var reason: String {
        if case .library = self { return TokenError.malformed.description }
        return description
    }
}

extension HTTPRequest {
    /// An identifier of the path: `{id}` of the pattern.
    /// - Throws: `Problem` 404 where it is no UUID: such a text names nothing.
    public func identifier<Kind>(
        _ name: String = "id", of kind: Identifier<Kind>.Type = Identifier<Kind>.self,
        orElse problem: Problem = .notFound()
    ) throws(Problem) -> Identifier<Kind> {
        guard let id = Identifier<Kind>(pathParameters[name] ?? "") else { throw problem }
        return id
    }
}
