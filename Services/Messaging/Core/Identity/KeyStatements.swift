// The keys that the instances sign with.
import Models
import Postgres
import Security

struct StoredKey: Sendable {
    let keyId: String
    let jwk: String
    /// The private half, sealed by the root secret.
    let sealed: [UInt8]
    let signsUntil: Timestamp
    let notAfter: Timestamp

    /// As the topic says it.
    func published(provenBy root: RootSecret) -> VerificationKey {
        VerificationKey(keyId: keyId, jwk: jwk, notAfter: notAfter, provenBy: root.proof)
    }
}

/// A key as a version before stored it.
struct UnsealedKey: Sendable {
    let keyId: String
    let jwk: String
    let privateJWK: String
    let signsUntil: Timestamp
    let notAfter: Timestamp

    func sealed(by root: RootSecret) -> StoredKey {
        StoredKey(
            keyId: keyId, jwk: jwk, sealed: root.seal(privateJWK.utf8), signsUntil: signsUntil, notAfter: notAfter)
    }
}

enum KeyStatements {
    /// Keeps other instances, of the version before too, from changing the keys until the transaction ends.
    static let lock: SQL = "LOCK TABLE keys, signing_keys IN SHARE ROW EXCLUSIVE MODE"

    static func insert(_ key: StoredKey) -> SQL {
        """
        INSERT INTO signing_keys (key_id, jwk, sealed, signs_until, not_after)
        VALUES (\(key.keyId), \(key.jwk), \(key.sealed), \(key.signsUntil), \(key.notAfter))
        """
    }

    static let unsealedRow = Columns("key_id", "jwk", "private_jwk", "signs_until", "not_after") {
        (keyId: String, jwk: String, privateJWK: String, signsUntil: Timestamp, notAfter: Timestamp) in
        UnsealedKey(keyId: keyId, jwk: jwk, privateJWK: privateJWK, signsUntil: signsUntil, notAfter: notAfter)
    }

    /// Takes out the keys that a version before stored as they are.
    static let takeUnsealed: SQL = """
        DELETE FROM keys
        -- Reads more: there are a few.
        RETURNING \(unsealedRow)
        """

    static let keyRow = Columns("key_id", "jwk", "sealed", "signs_until", "not_after") {
        (keyId: String, jwk: String, sealed: [UInt8], signsUntil: Timestamp, notAfter: Timestamp) in
        StoredKey(keyId: keyId, jwk: jwk, sealed: sealed, signsUntil: signsUntil, notAfter: notAfter)
    }

    /// Every key, the one whose turn ends first before the others.
    static let all: SQL = """
        SELECT \(keyRow) FROM signing_keys
        -- Reads more: there are a few.
        ORDER BY signs_until
        """

    static let publishedRow = Columns("key_id", "jwk", "not_after") {
        (keyId: String, jwk: String, notAfter: Timestamp) in (keyId: keyId, jwk: jwk, notAfter: notAfter)
    }

    /// Those of the keys that are there, also those that nobody has sealed yet.
    static func published(_ keyIds: [String]) -> SQL {
        """
        SELECT \(publishedRow) FROM signing_keys WHERE key_id = ANY(\(keyIds))
        UNION ALL SELECT \(publishedRow) FROM keys WHERE key_id = ANY(\(keyIds))
        """
    }

    /// Forgets the keys that no valid token bears any more, and names them.
    static func removeExpired(at now: Timestamp) -> SQL {
        """
        DELETE FROM signing_keys
        -- Reads more: there are a few.
        WHERE not_after <= \(now) RETURNING key_id
        """
    }
}
