// Topics `accounts`, keyed by the account's ID, and `keys`, keyed by the key's: both compacted.
import JSON

public enum AccountKind: String, JSONCodable, CaseIterable {
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
    public struct Authorisation: JSONObject, Hashable {
        public let payeeId: AccountID
        public let limit: Money
        public let publisher: PublisherName?

        public init(payeeId: AccountID, limit: Money, publisher: PublisherName? = nil) {
            self.payeeId = payeeId
            self.limit = limit
            self.publisher = publisher
        }

        public static let schema = Schema(
            Self.init, Field("payeeId", \.payeeId), Field("limit", \.limit), Field("publisher", \.publisher))
    }

    public static let authorisationsMax = 16
    public static let displayNameCharactersMax = 200

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

    public static let schema = Schema(
        Self.init, Field("accountId", \.accountId), Field("kind", \.kind),
        Field("handle", \.handle, .text(characters: 0...64)),
        Field("displayName", \.displayName, .text(characters: 1...displayNameCharactersMax)),
        Field("locale", \.locale, .languageTag), Field("createdAt", \.createdAt),
        Field("authorisations", \.authorisations, .list(of: Authorisation.codec, countMax: authorisationsMax)),
        Field("revision", \.revision, .integer(1...Int64.max)))
}

/// An account was deleted. The last record of its key: what was personal in those before goes when the topic is compacted.
public struct AccountDeleted: EventPayload {
    public static let type = "stampede.account.deleted.v1"

    public let accountId: AccountID
    public let deletedAt: Timestamp
    /// Greater than those of the account's records.
    public let revision: Int64

    public init(accountId: AccountID, deletedAt: Timestamp, revision: Int64) {
        self.accountId = accountId
        self.deletedAt = deletedAt
        self.revision = revision
    }

    public static let schema = Schema(
        Self.init, Field("accountId", \.accountId), Field("deletedAt", \.deletedAt),
        Field("revision", \.revision, .integer(1...Int64.max)))
}

/// What a record of `accounts` says of its account.
public enum AccountNews: Sendable {
    case account(Account), deleted(AccountDeleted)

    public static let types = [Account.type, AccountDeleted.type]

    /// - Parameter type: one of `types`.
    public init(_ type: String, _ json: JSONValue) throws(JSONError) {
        self =
            type == AccountDeleted.type ? .deleted(try AccountDeleted(json: json)) : .account(try Account(json: json))
    }

    public var accountId: AccountID {
        switch self {
        case .account(let account): account.accountId
        case .deleted(let deleted): deleted.accountId
        }
    }

    /// 0 where the publisher was a version that numbered none.
    public var revision: Int64 {
        switch self {
        case .account(let account): account.revision ?? 0
        case .deleted(let deleted): deleted.revision
        }
    }
}

/// What decides whether access tokens are genuine is believed by its proof, not because it stands in the log: whoever signs
/// tokens proves it by the root secret, and verifiers know the secret's public half.
public protocol ProvenPayload: EventPayload {
    /// An Ed25519 signature of `provenBytes` as base64url. Nil: of a version that proved nothing, and not believed.
    var proof: String? { get }
    /// All that it says, in one spelling.
    var provenBytes: [UInt8] { get }
}

/// A public key that verifies access tokens.
public struct VerificationKey: ProvenPayload, Equatable {
    public static let type = "stampede.key.published.v1"

    public let keyId: String
    /// The public key as a JSON Web Key (RFC 7517), a JSON text.
    public let jwk: String
    /// Tokens of this key are refused from here on.
    public let notAfter: Timestamp
    public let proof: String?

    public init(keyId: String, jwk: String, notAfter: Timestamp, proof: String? = nil) {
        self.keyId = keyId
        self.jwk = jwk
        self.notAfter = notAfter
        self.proof = proof
    }

    /// The same with its proof.
    public init(keyId: String, jwk: String, notAfter: Timestamp, provenBy prove: ([UInt8]) -> String) {
        let bare = VerificationKey(keyId: keyId, jwk: jwk, notAfter: notAfter)
        self.init(keyId: keyId, jwk: jwk, notAfter: notAfter, proof: prove(bare.provenBytes))
    }

    public static let schema = Schema(
        Self.init, Field("keyId", \.keyId, .token(bytesMax: 128)), Field("jwk", \.jwk, .text(characters: 1...4096)),
        Field("notAfter", \.notAfter), Field("proof", \.proof, .text(characters: 0...128)))

    public var provenBytes: [UInt8] {
        Array("\(Self.type)\n\(notAfter.microseconds)\n\(keyId.utf8.count)\n\(keyId)\(jwk)".utf8)
    }
}

/// A session was ended while access tokens of it may be out: they are refused.
public struct SessionEnded: ProvenPayload, Equatable {
    public static let type = "stampede.session.ended.v1"

    public let sessionId: SessionID
    /// When the last of its tokens runs out by itself.
    public let refusedUntil: Timestamp
    public let proof: String?

    public init(sessionId: SessionID, refusedUntil: Timestamp, proof: String? = nil) {
        self.sessionId = sessionId
        self.refusedUntil = refusedUntil
        self.proof = proof
    }

    /// The same with its proof.
    public init(sessionId: SessionID, refusedUntil: Timestamp, provenBy prove: ([UInt8]) -> String) {
        let bare = SessionEnded(sessionId: sessionId, refusedUntil: refusedUntil)
        self.init(sessionId: sessionId, refusedUntil: refusedUntil, proof: prove(bare.provenBytes))
    }

    public static let schema = Schema(
        Self.init, Field("sessionId", \.sessionId), Field("refusedUntil", \.refusedUntil),
        Field("proof", \.proof, .text(characters: 0...128)))

    public var provenBytes: [UInt8] {
        Array("\(Self.type)\n\(refusedUntil.microseconds)\n\(sessionId)".utf8)
    }
}
