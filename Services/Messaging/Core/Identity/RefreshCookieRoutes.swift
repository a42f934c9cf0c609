// Where a refresh token goes: into the answer, or into a cookie that no script of a page can read.
import HTTP
import JSON
import ServiceKit

/// Chosen by whoever signs in. A browser keeps its token in the cookie, other clients where they keep secrets.
enum RefreshTokenPlace: String, Sendable {
    case body, cookie
}

/// The cookie of browsers. It comes back to the route that trades it, and to no other; never from another site's page, and
/// over TLS or the machine's own loopback only.
enum RefreshCookie {
    static let name = "stampede-refresh"
    private static let scope = "Path=/v1/sessions/refresh; HttpOnly; Secure; SameSite=Strict"

    static func set(_ token: String) -> String {
        "\(name)=\(token); Max-Age=\(SessionStatements.refreshSeconds); \(scope)"
    }

    /// Takes it away.
    static let cleared = "\(name)=; Max-Age=0; \(scope)"

    /// The token that a request's cookie holds.
    static func token(of request: HTTPRequest) throws(Problem) -> String? {
        guard let found = value(in: request.header("Cookie") ?? "") else { return nil }
        try requireOwnOrigin(request)
        return found
    }

    /// - Throws: `Problem` 403 where another origin's page made a browser send it. Ports of one host are one site to a cookie,
    ///   so `SameSite` does not tell them apart.
    static func requireOwnOrigin(_ request: HTTPRequest) throws(Problem) {
        guard ["same-origin", "none", nil].contains(request.header("Sec-Fetch-Site")) else {
            throw .forbidden("A refresh cookie is for pages of its own origin only.")
        }
    }

    static func value(in header: String) -> String? {
        for pair in header.split(separator: ";") {
            let parts = pair.split(separator: "=", maxSplits: 1)
            guard parts.count == 2, parts[0].drop(while: { $0 == " " }) == name else { continue }
            return parts[1].isEmpty ? nil : String(parts[1])
        }
        return nil
    }
}

extension HTTPResponse {
    /// The same answer to a browser, whose refresh token goes into its cookie where that is the place.
    func withRefreshToken(_ tokens: SessionTokens, in place: RefreshTokenPlace) -> HTTPResponse {
        place == .cookie ? with("Set-Cookie", RefreshCookie.set(tokens.refresh)) : self
    }

    /// The same answer, which takes the cookie away with the session.
    var withoutRefreshCookie: HTTPResponse { with("Set-Cookie", RefreshCookie.cleared) }
}

extension HTTPRequest {
    /// - Throws: `Problem` 403 where another origin's page would sign this browser in.
    func require(_ place: RefreshTokenPlace) throws(Problem) {
        if place == .cookie { try RefreshCookie.requireOwnOrigin(self) }
    }
}

extension JSONValue {
    func refreshTokenPlace() throws(JSONError) -> RefreshTokenPlace {
        guard self["refreshTokenIn"] != nil else { return .body }
        guard let place = RefreshTokenPlace(rawValue: try string("refreshTokenIn")) else {
            throw JSONError(path: "refreshTokenIn", expected: "body or cookie")
        }
        return place
    }
}
