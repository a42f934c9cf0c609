// Signs access tokens.
import CCJose
import JSON

/// A private P-256 key. Its ID is its thumbprint (RFC 7638), so that the same key has the same ID everywhere.
public struct SigningKey: Sendable {
    public let keyID: String
    /// What verifies this key's tokens: a JSON Web Key to publish.
    public let publicJWK: String
    private let key: ECKey

    public static func generate() throws(TokenError) -> SigningKey { try SigningKey(key: .random()) }

    /// Reads a private JSON Web Key, as `exportPrivateJWK()` gave it.
    public init(privateJWK: String) throws(TokenError) {
        try self.init(key: ECKey(jwk: privateJWK, isPrivate: true))
    }

    private init(key: ECKey) throws(TokenError) {
        self.key = key
        keyID = try key.thumbprint()
        publicJWK = try key.jwk(private: false)
    }

    /// The key itself, to store it where only the signer reads.
    public func exportPrivateJWK() throws(TokenError) -> String { try key.jwk(private: true) }

    /// A compact JWS, ES256, with the key's ID in its header, in the one spelling that verifiers take.
    public func sign(claims: AccessClaims) throws(TokenError) -> String {
        var error = cjose_err()
        guard let header = cjose_header_new(&error) else { throw TokenError(error) }
        defer { cjose_header_release(header) }
        guard cjose_header_set(header, "alg", "ES256", &error), cjose_header_set(header, "typ", "JWT", &error),
            cjose_header_set(header, "kid", keyID, &error)
        else { throw TokenError(error) }
        let payload = JSONWriter.document(claims)
        guard let jws = cjose_jws_sign(key.handle, header, payload, payload.count, &error) else {
            throw TokenError(error)
        }
        defer { cjose_jws_release(jws) }
        var compact: UnsafePointer<CChar>?
        // The text belongs to the JWS.
        guard cjose_jws_export(jws, &compact, &error), let compact else { throw TokenError(error) }
        guard let token = TokenSpelling.low(String(cString: compact)) else { throw .library("not a compact JWS") }
        return token
    }
}

extension SigningKey: CustomStringConvertible, CustomDebugStringConvertible {
    /// Names the key and never shows it.
    public var description: String { "SigningKey(\(keyID))" }
    public var debugDescription: String { description }
}
