// Who sends a request, and whether they may.
import HTTP
import Models
import Security

extension HTTPRequest {
    /// The claims of the request's bearer token, by the service's clock.
    /// - Throws: `Problem` 401 that says what is wrong with the token, and nothing about whose it is; 429 where its account
    ///   asks too often.
    public func claims(using verifier: TokenVerifier, now: Timestamp) throws(Problem) -> AccessClaims {
        guard let token = bearerToken else {
            throw .unauthorized(challenge: "Bearer", "Send an access token: Authorization: Bearer …")
        }
        let claims: AccessClaims
        do {
            claims = try verifier.verify(token, now: now)
        } catch {
            throw .unauthorized(
                challenge: #"Bearer error="invalid_token""#, "The access token was refused: \(error.reason).")
        }
        try count(callerHigh: claims.sub.high, low: claims.sub.low)
        return claims
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

extension Problem {
    /// 401 with a challenge of RFC 6750 that says more than the plain one.
    fileprivate static func unauthorized(challenge: String, _ detail: String) -> Problem {
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
