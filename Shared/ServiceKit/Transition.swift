// Goes when the last service is a list of features.
import HTTP
import Models
import Security

/// A service's routes and components as one feature.
public struct Everything: Feature {
    public let serves: [Endpoint]
    public let consumes: [any Consumer]
    public let publishes: [Topic]
    public let repeats: [any Component]

    public init(_ components: [any Component], publishes: [Topic], routes: [Route] = []) {
        serves = routes.map(Endpoint.init(transitional:))
        consumes = components.compactMap { $0 as? any Consumer }
        repeats = components.filter { !($0 is any Consumer) }
        self.publishes = publishes
    }
}

extension Endpoint {
    init(transitional route: Route) {
        self.init(
            route.method, route.pattern, for: .everybody, bodyBytesMax: route.bodyBytesMax, computes: route.computes
        ) { try await route.answer($0) }
    }
}

extension HTTPRequest {
    public func claims(using verifier: TokenVerifier, now: Timestamp) throws(Problem) -> AccessClaims {
        try Authenticator(verifier: verifier, now: { now }).caller(of: self, among: .authenticated)
    }
}

extension AccessClaims {
    /// - Throws: `Problem` 403 unless the account is of one of these kinds.
    public func require(_ kinds: AccountKind...) throws(Problem) {
        guard kinds.contains(kind) else {
            throw .forbidden("Only for: \(kinds.map(\.rawValue).joined(separator: ", ")).")
        }
    }
}
