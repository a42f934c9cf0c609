// What an access token says, in the names of RFC 7519.
import JSON
import Models

/// The claims of an access token: who may act, as what, in which session, until when.
public struct AccessClaims: Sendable, Hashable {
    /// The issuer of every token of this installation, unless it is configured otherwise.
    public static let standardIssuer = "stampede"

    /// Who acts.
    public let sub: AccountID
    public let kind: AccountKind
    /// The session that the token belongs to; ending it ends its tokens' renewal.
    public let sid: SessionID
    /// Issued at and expires at, seconds since 1970.
    public let iat: Int64
    public let exp: Int64
    public let iss: String

    public init(
        sub: AccountID, kind: AccountKind, sid: SessionID, iat: Int64, exp: Int64, iss: String = Self.standardIssuer
    ) {
        self.sub = sub
        self.kind = kind
        self.sid = sid
        self.iat = iat
        self.exp = exp
        self.iss = iss
    }

    init(json: JSONValue) throws(JSONError) {
        sub = try json.identifier("sub")
        kind = try json.choice("kind")
        sid = try json.identifier("sid")
        iat = try json.integer("iat", in: Self.seconds)
        exp = try json.integer("exp", in: Self.seconds)
        iss = try json.string("iss", bytesMax: 256)
    }

    /// 1970 to 9999: arithmetic on it cannot overflow.
    private static let seconds: ClosedRange<Int64> = 0...253_402_300_799
}

extension AccessClaims: JSONWritable {
    public func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("iss", iss)
            $0.field("sub", sub)
            $0.field("kind", kind.rawValue)
            $0.field("sid", sid)
            $0.field("iat", Int(iat))
            $0.field("exp", Int(exp))
        }
    }
}
