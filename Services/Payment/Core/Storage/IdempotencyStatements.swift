// Answers to commands that move money, kept by the key that the client gave the command.
import Models
import Postgres

/// A command's key: unique for its sender.
struct IdempotencyKey: Hashable, Sendable {
    let owner: AccountID
    let key: String
}

/// What a command was answered, to be answered again.
struct KeptAnswer: Sendable, Equatable {
    let status: Int32
    let location: String?
    let body: [UInt8]
}

enum IdempotencyStatements {
    /// How long an answer is kept.
    static let keptDays = 7

    /// Claims each key until the transaction ends: false where another transaction has it.
    static func claim(_ keys: [IdempotencyKey]) -> SQL {
        """
        SELECT try_claim_key(owner_id, key)
        FROM unnest(\(keys.map(\.owner)), \(keys.map(\.key))) WITH ORDINALITY AS asked (owner_id, key, place)
        ORDER BY place
        """
    }

    /// The answers that are kept for the keys. After `claim`, in a statement of its own: only then does it see what the
    /// transaction that had the key before has written.
    static func kept(_ keys: [IdempotencyKey]) -> SQL {
        """
        SELECT owner_id, key, fingerprint, status, location, answer
        FROM idempotency_keys JOIN unnest(\(keys.map(\.owner)), \(keys.map(\.key))) AS asked (owner_id, key)
            USING (owner_id, key)
        """
    }

    static func keep(_ answers: [(key: IdempotencyKey, fingerprint: [UInt8], answer: KeptAnswer)]) -> SQL {
        """
        INSERT INTO idempotency_keys (owner_id, key, fingerprint, status, location, answer)
        SELECT * FROM unnest(
            \(answers.map(\.key.owner)), \(answers.map(\.key.key)), \(answers.map(\.fingerprint)),
            \(answers.map(\.answer.status)), \(answers.map(\.answer.location)), \(answers.map(\.answer.body)))
        """
    }

    /// Forgets old answers, twice as many as are added, so that the table stays as long as its time.
    static func forgetOld(added: Int) -> SQL {
        """
        DELETE FROM idempotency_keys WHERE (owner_id, key) IN (
            SELECT owner_id, key FROM idempotency_keys
            WHERE created_at < now() - make_interval(days => \(Int32(keptDays)))
            ORDER BY created_at LIMIT \(Int64(added) * 2) FOR UPDATE SKIP LOCKED)
        """
    }
}
