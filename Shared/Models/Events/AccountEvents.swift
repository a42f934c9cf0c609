// Topics `accounts`, keyed by the account's ID, and `keys`, keyed by the key's: both compacted.
import JSON

public enum AccountKind: String, Codable, Sendable, CaseIterable {
    case person, brand
    /// Runs the installation: imports accounts, tops up wallets. Has no wallet and no conversations.
    case `operator`
}

/// An account as it is now.
public struct Account: EventPayload {
    public static let type = "stampede.account.changed.v1"

    public let accountId: AccountID
    public let kind: AccountKind
    /// Unique name to sign in and be found by; none for accounts that only a federation knows.
    public let handle: String?
    public let displayName: String
    /// BCP 47 tag of the language that the reader wants.
    public let locale: String
    public let createdAt: Timestamp
    /// Standing authorisations that the account brings along when its wallet opens.
    public let authorisations: [Authorisation]
    /// One more with every change. Records of one account may come in another order: the greatest says how it is now. Nil:
    /// the publisher was a version that did not number them.
    public let revision: Int64?

    /// The holder lets a payee take up to `limit` for one order without asking: one that the holder placed in the app, or
    /// that `publisher` placed, where one is named.
    public struct Authorisation: Hashable, Sendable, Codable, JSONWritable {
        public let payeeId: AccountID
        public let limit: Money
        public let publisher: PublisherName?

        public init(payeeId: AccountID, limit: Money, publisher: PublisherName? = nil) {
            self.payeeId = payeeId
            self.limit = limit
            self.publisher = publisher
        }

        public init(json: JSONValue) throws(JSONError) {
            payeeId = try json.identifier("payeeId")
            limit = try json.money("limit")
            publisher = try json.optionalPublisher("publisher")
        }

        public func write(to writer: inout JSONWriter) {
            writer.object {
                $0.field("payeeId", payeeId)
                $0.field("limit", limit)
                $0.field("publisher", optional: publisher)
            }
        }
    }

    public static let authorisationsMax = 16
    public static let displayNameBytesMax = 200
    public static let localeBytesMax = 35

    public init(
        accountId: AccountID, kind: AccountKind, handle: String?, displayName: String, locale: String,
        createdAt: Timestamp, authorisations: [Authorisation] = [], revision: Int64? = 1
    ) {
        self.accountId = accountId
        self.kind = kind
        self.handle = handle
        self.displayName = displayName
        self.locale = locale
        self.createdAt = createdAt
        self.authorisations = authorisations
        self.revision = revision
    }

    public init(json: JSONValue) throws(JSONError) {
        accountId = try json.identifier("accountId")
        kind = try json.choice("kind")
        handle = try json.optionalString("handle", bytesMax: 64)
        displayName = try json.string("displayName", bytesMax: Self.displayNameBytesMax)
        locale = try json.string("locale", bytesMax: Self.localeBytesMax)
        createdAt = try json.timestamp("createdAt")
        authorisations = try json.list("authorisations", countMax: Self.authorisationsMax, Authorisation.init(json:))
        revision = try json.optionalInteger("revision", in: 1...Int64.max)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("accountId", accountId)
            $0.field("kind", kind.rawValue)
            $0.field("handle", optional: handle)
            $0.field("displayName", displayName)
            $0.field("locale", locale)
            $0.field("createdAt", createdAt)
            $0.field("authorisations", authorisations)
            $0.field("revision", optional: revision)
        }
    }
}

/// A public key that verifies access tokens.
public struct VerificationKey: EventPayload {
    public static let type = "stampede.key.published.v1"

    public let keyId: String
    /// The public key as a JSON Web Key (RFC 7517), a JSON text.
    public let jwk: String
    /// Tokens of this key are refused from here on.
    public let notAfter: Timestamp

    public init(keyId: String, jwk: String, notAfter: Timestamp) {
        self.keyId = keyId
        self.jwk = jwk
        self.notAfter = notAfter
    }

    public init(json: JSONValue) throws(JSONError) {
        keyId = try json.string("keyId", bytesMax: 128)
        jwk = try json.string("jwk", bytesMax: 4096)
        notAfter = try json.timestamp("notAfter")
    }

    public func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("keyId", keyId)
            $0.field("jwk", jwk)
            $0.field("notAfter", notAfter)
        }
    }
}
