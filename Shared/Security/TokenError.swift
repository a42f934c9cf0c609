// Why a token or a key was refused.

public enum TokenError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Not a compact JWS with the claims of an access token.
    case malformed
    /// Signed by another algorithm than ES256, or by none.
    case unsupportedAlgorithm
    /// Signed by a key that is unknown or withdrawn.
    case unknownKey
    case badSignature
    case expired
    /// The session that it belongs to was ended.
    case sessionEnded
    case wrongIssuer
    /// The JSON Web Key is not a public key (or, to sign, a private one) of P-256.
    case invalidKey
    /// More keys than `TokenVerifier.keysMax`.
    case tooManyKeys
    /// The cryptographic library failed; the text is its own.
    case library(String)

    public var description: String {
        switch self {
        case .malformed: "not an access token"
        case .unsupportedAlgorithm: "not signed by ES256"
        case .unknownKey: "signed by a key that is unknown or withdrawn"
        case .badSignature: "the signature does not fit"
        case .expired: "expired"
        case .sessionEnded: "its session has ended"
        case .wrongIssuer: "issued by somebody else"
        case .invalidKey: "not a P-256 JSON Web Key"
        case .tooManyKeys: "too many verification keys"
        case .library(let reason): "cjose: \(reason)"
        }
    }
}
