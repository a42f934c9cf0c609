// `Idempotency-Key`: a command that makes something or moves money is carried out once, however often it is sent.
import HTTP
import Models
import Postgres
import Security

/// A command's key: unique for its sender.
public struct IdempotencyKey: Hashable, Sendable {
    public let owner: AccountID
    public let key: String

    public init(owner: AccountID, key: String) {
        self.owner = owner
        self.key = key
    }
}

/// What a command was answered, to be answered again.
public struct KeptAnswer: Sendable, Equatable {
    public let status: Int32
    public let location: String?
    public let body: [UInt8]

    public init(status: Int32, location: String?, body: [UInt8]) {
        self.status = status
        self.location = location
        self.body = body
    }

    public var response: HTTPResponse {
        let response = HTTPResponse.json(Int(status), body)
        return location.map { response.with("Location", $0) } ?? response
    }
}

/// A command with its key. The same command under the same key gets the same answer again; a refused command has
/// changed nothing and does not use its key up.
public struct IdempotentCommand: Sendable {
    public let key: IdempotencyKey
    /// SHA-256 of what is commanded, so that another command under the same key is told apart.
    public let fingerprint: [UInt8]

    private static let headerName = "Idempotency-Key"
    static let keyBytesMax = 200
    /// Owns the keys of those who have no account yet.
    public static let nobody = AccountID(high: 0, low: 0)

    /// A command that must have a key.
    /// - Parameters:
    ///   - name: tells commands of different routes apart.
    ///   - content: what is commanded, in one form whatever the request's spelling.
    /// - Throws: `Problem` 400 where the header is missing or is no key.
    public init(_ request: HTTPRequest, by owner: AccountID, name: String, content: [UInt8]) throws(Problem) {
        guard
            let text = request.header(Self.headerName), (1...Self.keyBytesMax).contains(text.utf8.count),
            text.utf8.allSatisfy({ (0x21...0x7e).contains($0) })
        else {
            throw .badRequest(
                fields: [
                    FieldProblem(
                        Self.headerName, expected: "a header of 1 to \(Self.keyBytesMax) visible ASCII characters")
                ])
        }
        key = IdempotencyKey(owner: owner, key: text)
        fingerprint = Digest.sha256(Array(name.utf8) + [0] + content)
    }

    /// A command that may have a key: nil where it has none.
    public static func optional(
        _ request: HTTPRequest, by owner: AccountID, name: String, content: @autoclosure () -> [UInt8]
    ) throws(Problem) -> IdempotentCommand? {
        guard request.header(headerName) != nil else { return nil }
        return try IdempotentCommand(request, by: owner, name: name, content: content())
    }
}

/// Why a command is not carried out.
public enum IdempotencyRefusal: ProblemConvertible, Sendable {
    /// Another transaction has the key.
    case running
    /// The key was another command's.
    case reused

    public var problem: Problem {
        switch self {
        case .running:
            Problem(
                409, type: "idempotency-key-in-use", title: "A command with this key is being carried out",
                detail: "Ask again shortly: the same answer will be given.", retryAfterSeconds: 1)
        case .reused:
            Problem(
                422, type: "idempotency-key-reused", title: "This key was used for another command",
                detail: "A new command needs a new Idempotency-Key.")
        }
    }
}

/// The answers that are kept for some keys.
public struct KeptAnswers: Sendable {
    private let byKey: [IdempotencyKey: (fingerprint: [UInt8], answer: KeptAnswer)]

    public init(_ rows: Rows) throws(PostgresError) {
        var byKey: [IdempotencyKey: (fingerprint: [UInt8], answer: KeptAnswer)] = [:]
        for row in rows {
            let answer = KeptAnswer(
                status: try row.get(3), location: try row.get(4), body: try row.get(5, as: [UInt8].self))
            byKey[IdempotencyKey(owner: try row.get(0), key: try row.get(1))] = (try row.get(2), answer)
        }
        self.byKey = byKey
    }

    /// What the command was answered before, nil when it is new.
    /// - Throws: `reused` where the key was another command's.
    public func answer(_ command: IdempotentCommand) throws(IdempotencyRefusal) -> KeptAnswer? {
        guard let kept = byKey[command.key] else { return nil }
        guard kept.fingerprint == command.fingerprint else { throw .reused }
        return kept.answer
    }
}

extension Transaction {
    /// Carries a command out, or gives the answer that it got before. Without a command the work is just done.
    /// - Returns: the answer, and whether it is of now.
    /// - Throws: `IdempotencyRefusal`.
    public func once(
        _ command: IdempotentCommand?, _ work: () async throws -> KeptAnswer
    ) async throws -> (answer: KeptAnswer, isNew: Bool) {
        guard let command else { return (try await work(), true) }
        let rows = try await pipeline([
            IdempotencyStatements.claim([command.key]), IdempotencyStatements.kept([command.key]),
        ])
        guard try rows[0].column(0, as: Bool.self) == [true] else { throw IdempotencyRefusal.running }
        if let answer = try KeptAnswers(rows[1]).answer(command) { return (answer, false) }
        let answer = try await work()
        finish([
            IdempotencyStatements.keep([(command.key, command.fingerprint, answer)]),
            IdempotencyStatements.forgetOld(added: 1),
        ])
        return (answer, true)
    }
}

extension PostgresPool {
    /// What the command was answered before, nil when it is new: for what costs much before its transaction.
    /// - Throws: `Problem` 422 where its key was another's.
    public func keptAnswer(of command: IdempotentCommand) async throws -> KeptAnswer? {
        try KeptAnswers(try await query(IdempotencyStatements.kept([command.key]))).answer(command)
    }
}

public enum IdempotencyStatements {
    /// How long an answer is kept.
    static let keptHours = 24

    /// Claims each key until the transaction ends: false where another transaction has it.
    public static func claim(_ keys: [IdempotencyKey]) -> SQL {
        """
        SELECT try_claim_key(owner_id, key)
        FROM unnest(\(keys.map(\.owner)), \(keys.map(\.key))) WITH ORDINALITY AS asked (owner_id, key, place)
        ORDER BY place
        """
    }

    /// The answers that are kept for the keys. After `claim`, in a statement of its own: only then does it see what the
    /// transaction that had the key before has written.
    public static func kept(_ keys: [IdempotencyKey]) -> SQL {
        """
        SELECT i.owner_id, i.key, i.fingerprint, i.status, i.location, i.answer
        FROM unnest(\(keys.map(\.owner)), \(keys.map(\.key))) AS asked (owner_id, key)
        -- OFFSET: looked up for each key, also where the planner knew the table when it was empty.
        CROSS JOIN LATERAL (
            SELECT * FROM idempotency_keys WHERE owner_id = asked.owner_id AND key = asked.key OFFSET 0) i
        WHERE i.created_at >= now() - make_interval(hours => \(Int32(keptHours)))
        """
    }

    /// Takes the place of what was kept under the keys and is too old to count.
    public static func keep(_ answers: [(key: IdempotencyKey, fingerprint: [UInt8], answer: KeptAnswer)]) -> SQL {
        """
        INSERT INTO idempotency_keys (owner_id, key, fingerprint, status, location, answer)
        SELECT * FROM unnest(
            \(answers.map(\.key.owner)), \(answers.map(\.key.key)), \(answers.map(\.fingerprint)),
            \(answers.map(\.answer.status)), \(answers.map(\.answer.location)), \(answers.map(\.answer.body)))
        ON CONFLICT (owner_id, key) DO UPDATE SET fingerprint = excluded.fingerprint, status = excluded.status,
            location = excluded.location, answer = excluded.answer, created_at = excluded.created_at
        """
    }

    /// Forgets old answers, twice as many as are added, so that the table stays as long as its time.
    public static func forgetOld(added: Int) -> SQL {
        """
        DELETE FROM idempotency_keys WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM idempotency_keys
            WHERE created_at < now() - make_interval(hours => \(Int32(keptHours)))
            ORDER BY created_at LIMIT \(Int64(added) * 2) FOR UPDATE SKIP LOCKED))
        """
    }
}

/// The table that keeps the answers, in each service's own schema.
public enum IdempotencySchema {
    /// - Parameter number: the next in the service's list.
    public static func migration(number: Int) -> Migration {
        Migration(number: number, name: "idempotency_keys", sql: sql)
    }

    private static let sql = """
        -- Answers to commands, by the key that the client gave each.
        CREATE TABLE idempotency_keys (
            owner_id uuid NOT NULL,
            key text NOT NULL,
            -- SHA-256 of the command.
            fingerprint bytea NOT NULL,
            status integer NOT NULL,
            location text,
            answer bytea NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (owner_id, key)
        );
        CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

        -- The command's key for the rest of the transaction, false while another transaction has it.
        CREATE FUNCTION try_claim_key(owner uuid, key text) RETURNS boolean LANGUAGE sql AS $$
            SELECT pg_try_advisory_xact_lock(hashtextextended(current_schema() || ':' || owner || ':' || key, 0))
        $$;
        """
}
