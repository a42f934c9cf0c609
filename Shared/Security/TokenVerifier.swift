// Verifies access tokens; the busiest security check there is.
import CCJose
import JSON
import Models
import Synchronization

/// Verifies ES256 tokens by the public keys that it was given, and remembers what it verified: a token that was
/// verified or issued here before costs one keyed hash and one look into a table instead of a signature check.
public final class TokenVerifier: Sendable {
    /// The most keys at a time. Rotation needs two or three.
    public static let keysMax = 64
    /// Longer tokens are not looked at.
    public static let tokenBytesMax = 2048

    struct Key {
        let key: ECKey
        let jwk: String
        let notAfterSeconds: Int64
    }

    private let issuer: String
    let keys = Mutex<[String: Key]>([:])
    private let known: TokenTable
    private let ended: EndedSessions

    /// - Parameters:
    ///   - tokensMax: how many tokens are remembered at most; each costs about 110 bytes.
    ///   - endedSessionsMax: how many ended sessions are; each costs about 40 bytes.
    public init(
        issuer: String = AccessClaims.standardIssuer, tokensMax: Int = 196_000, endedSessionsMax: Int = 500_000
    ) {
        self.issuer = issuer
        ended = EndedSessions(sessionsMax: endedSessionsMax)
        known = TokenTable(tokensMax: tokensMax)
    }

    /// Adds a public key or replaces the one of that ID. The same key again changes nothing, and no token is forgotten.
    /// - Parameter notAfter: tokens of this key are refused from then on.
    public func update(keyID: String, jwk: String, notAfter: Timestamp = .distantFuture) throws(TokenError) {
        let notAfterSeconds = notAfter.microseconds / 1_000_000
        let isKnown = keys.withLock { $0[keyID]?.jwk == jwk && $0[keyID]?.notAfterSeconds == notAfterSeconds }
        if isKnown { return }
        let key = Key(key: try ECKey(jwk: jwk, isPrivate: false), jwk: jwk, notAfterSeconds: notAfterSeconds)
        let isAdded = keys.withLock { keys in
            guard keys[keyID] != nil || keys.count < Self.keysMax else { return false }
            keys[keyID] = key
            return true
        }
        guard isAdded else { throw .tooManyKeys }
        known.removeAll()
    }

    /// Tokens of this key are refused from now on.
    public func remove(keyID: String) {
        // Of a key that is not there no token is known either.
        guard keys.withLock({ $0.removeValue(forKey: keyID) }) != nil else { return }
        known.removeAll()
    }

    /// Tokens of this session are refused from now on.
    /// - Parameter until: when the last of them runs out by itself.
    public func refuse(_ session: SessionID, until: Timestamp, now: Timestamp) {
        ended.insert(session, untilSeconds: until.secondsRoundedUp, nowSeconds: now.microseconds / 1_000_000)
    }

    /// Notes a token that this process has just signed.
    public func remember(_ token: String, _ claims: AccessClaims) {
        guard claims.iss == issuer else { return }
        known.insert(token, claims, refusedFromSeconds: claims.exp, generation: known.generation)
    }

    /// The claims of a token that is genuine, current and ours. One that was issued in the future is: only we issue, so
    /// the clock here is behind, and that is no reason to turn anybody away.
    public func verify(_ token: String, now: Timestamp) throws(TokenError) -> AccessClaims {
        let nowSeconds = now.microseconds / 1_000_000
        guard token.utf8.count <= Self.tokenBytesMax else { throw .malformed }
        if let claims = known.find(token, issuer: issuer, nowSeconds: nowSeconds) {
            guard !ended.contains(claims.sid) else { throw .sessionEnded }
            return claims
        }
        // Taken before the keys are: if they change meanwhile, what was verified by the old ones is not remembered.
        let generation = known.generation
        let (claims, notAfterSeconds) = try verifySignature(token)
        guard claims.iss == issuer else { throw .wrongIssuer }
        guard nowSeconds < notAfterSeconds else { throw .unknownKey }
        guard nowSeconds < claims.exp else { throw .expired }
        guard !ended.contains(claims.sid) else { throw .sessionEnded }
        known.insert(
            token, claims, refusedFromSeconds: min(claims.exp, notAfterSeconds), generation: generation)
        return claims
    }

    private func verifySignature(_ token: String) throws(TokenError) -> (AccessClaims, notAfterSeconds: Int64) {
        guard let spelling = TokenSpelling(token) else { throw .malformed }
        var error = cjose_err()
        guard let jws = cjose_jws_import(token, token.utf8.count, &error) else { throw .malformed }
        defer { cjose_jws_release(jws) }
        guard let header = cjose_jws_get_protected(jws) else { throw .malformed }
        // The key decides the algorithm, not the token: ES256 and nothing else. Extensions that must be understood
        // ("crit") are none of ours.
        guard Self.value("alg", in: header) == "ES256", !Self.has("crit", in: header) else {
            throw .unsupportedAlgorithm
        }
        guard let keyID = Self.value("kid", in: header), let key = keys.withLock({ $0[keyID] }) else {
            throw .unknownKey
        }
        guard spelling.isLow, cjose_jws_verify(jws, key.key.handle, &error) else { throw .badSignature }
        var start: UnsafeMutablePointer<UInt8>?
        var count = 0
        guard cjose_jws_get_plaintext(jws, &start, &count, &error), let start else { throw .malformed }
        do {
            let payload = UnsafeBufferPointer(start: start, count: count)
            return (
                try JSONParser.parse(payload) { json throws(JSONError) in try AccessClaims(json: json) },
                key.notAfterSeconds
            )
        } catch {
            throw .malformed
        }
    }

    private static func value(_ name: String, in header: UnsafeMutablePointer<cjose_header_t>) -> String? {
        var error = cjose_err()
        return cjose_header_get(header, name, &error).map { String(cString: $0) }
    }

    private static func has(_ name: String, in header: UnsafeMutablePointer<cjose_header_t>) -> Bool {
        var error = cjose_err()
        guard let raw = cjose_header_get_raw(header, name, &error) else { return false }
        cjose_get_dealloc()?(raw)
        return true
    }
}
