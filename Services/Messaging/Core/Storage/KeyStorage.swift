// The keys that the instances sign with.
import Models
import Postgres

enum KeyStorage {
    struct Key: Sendable {
        let published: VerificationKey
        let privateJWK: String
        let signsUntil: Timestamp
    }

    /// Keeps other instances from changing the keys until the transaction ends.
    static func lock(in transaction: Transaction) async throws(PostgresError) {
        _ = try await transaction.execute("LOCK TABLE keys IN SHARE ROW EXCLUSIVE MODE")
    }

    static func insert(_ key: Key, in transaction: Transaction) async throws(PostgresError) {
        let published = key.published
        _ = try await transaction.execute(
            """
            INSERT INTO keys (key_id, jwk, private_jwk, signs_until, not_after)
            VALUES (\(published.keyId), \(published.jwk), \(key.privateJWK), \(key.signsUntil), \(published.notAfter))
            """)
    }

    /// Every key, the one whose turn ends first before the others.
    static func all(in transaction: Transaction) async throws(PostgresError) -> [Key] {
        try await transaction.query(
            "SELECT key_id, jwk, not_after, private_jwk, signs_until FROM keys ORDER BY signs_until"
        ).mapped { (row) throws(PostgresError) in
            Key(
                published: VerificationKey(keyId: try row.get(0), jwk: try row.get(1), notAfter: try row.get(2)),
                privateJWK: try row.get(3), signsUntil: try row.get(4))
        }
    }

    /// Those of the keys that are there.
    static func published(
        _ keyIDs: [String], in transaction: Transaction
    ) async throws(PostgresError) -> [VerificationKey] {
        try await transaction.query(
            "SELECT key_id, jwk, not_after FROM keys WHERE key_id = ANY(\(keyIDs))"
        ).mapped { (row) throws(PostgresError) in
            VerificationKey(keyId: try row.get(0), jwk: try row.get(1), notAfter: try row.get(2))
        }
    }

    /// Forgets the keys that no valid token bears any more, and names them.
    static func removeExpired(at now: Timestamp, in transaction: Transaction) async throws(PostgresError) -> [String] {
        try await transaction.query("DELETE FROM keys WHERE not_after <= \(now) RETURNING key_id").column(0)
    }
}
