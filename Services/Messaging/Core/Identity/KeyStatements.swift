// The keys that the instances sign with.
import Models
import Postgres
import Security

enum KeyStorage {
    struct Key: Sendable {
        let keyID: String
        let jwk: String
        /// The private half, sealed by the root secret.
        let sealed: [UInt8]
        let signsUntil: Timestamp
        let notAfter: Timestamp

        /// As the topic says it.
        func published(provenBy root: RootSecret) -> VerificationKey {
            VerificationKey(keyId: keyID, jwk: jwk, notAfter: notAfter, provenBy: root.proof)
        }
    }

    /// Keeps other instances, of the version before too, from changing the keys until the transaction ends.
    static func lock(in transaction: Transaction) async throws(PostgresError) {
        _ = try await transaction.execute("LOCK TABLE keys, signing_keys IN SHARE ROW EXCLUSIVE MODE")
    }

    static func insert(_ key: Key, in transaction: Transaction) async throws(PostgresError) {
        _ = try await transaction.execute(
            """
            INSERT INTO signing_keys (key_id, jwk, sealed, signs_until, not_after)
            VALUES (\(key.keyID), \(key.jwk), \(key.sealed), \(key.signsUntil), \(key.notAfter))
            """)
    }

    /// Seals the keys that a version before stored as they are.
    static func sealPlain(by root: RootSecret, in transaction: Transaction) async throws(PostgresError) -> [Key] {
        let rows = try await transaction.query(
            "DELETE FROM keys RETURNING key_id, jwk, private_jwk, signs_until, not_after")
        var keys: [Key] = []
        for row in rows {
            let plain: String = try row.get(2)
            let key = Key(
                keyID: try row.get(0), jwk: try row.get(1), sealed: root.seal(plain.utf8), signsUntil: try row.get(3),
                notAfter: try row.get(4))
            try await insert(key, in: transaction)
            keys.append(key)
        }
        return keys
    }

    /// Every key, the one whose turn ends first before the others.
    static func all(in transaction: Transaction) async throws(PostgresError) -> [Key] {
        try await transaction.query(
            "SELECT key_id, jwk, sealed, signs_until, not_after FROM signing_keys ORDER BY signs_until"
        ).mapped { (row) throws(PostgresError) in
            Key(
                keyID: try row.get(0), jwk: try row.get(1), sealed: try row.get(2), signsUntil: try row.get(3),
                notAfter: try row.get(4))
        }
    }

    /// Those of the keys that are there, also those that nobody has sealed yet.
    static func published(
        _ keyIDs: [String], provenBy root: RootSecret, in transaction: Transaction
    ) async throws(PostgresError) -> [VerificationKey] {
        try await transaction.query(
            """
            SELECT key_id, jwk, not_after FROM signing_keys WHERE key_id = ANY(\(keyIDs))
            UNION ALL SELECT key_id, jwk, not_after FROM keys WHERE key_id = ANY(\(keyIDs))
            """
        ).mapped { (row) throws(PostgresError) in
            VerificationKey(
                keyId: try row.get(0), jwk: try row.get(1), notAfter: try row.get(2), provenBy: root.proof)
        }
    }

    /// Forgets the keys that no valid token bears any more, and names them.
    static func removeExpired(at now: Timestamp, in transaction: Transaction) async throws(PostgresError) -> [String] {
        try await transaction.query("DELETE FROM signing_keys WHERE not_after <= \(now) RETURNING key_id").column(0)
    }
}
