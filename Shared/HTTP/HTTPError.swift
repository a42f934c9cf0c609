// What can be wrong with a server before it serves.

/// Why a server could not be made or started.
public enum HTTPError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Two routes answer the same method and path, or a pattern is not one.
    case invalidRoute(String)
    /// The address is not a literal IPv4 or IPv6 address.
    case invalidAddress(String)
    /// The system refused: what was tried, and its reason (`listen on 127.0.0.1:8080: Address already in use`).
    case system(String)

    public var description: String {
        switch self {
        case .invalidRoute(let reason): "invalid route: \(reason)"
        case .invalidAddress(let address): "not an IPv4 or IPv6 address: \(address)"
        case .system(let reason): reason
        }
    }
}
