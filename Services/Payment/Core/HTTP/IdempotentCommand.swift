// `Idempotency-Key`: a command that moves money is carried out once, however often it is sent.
import HTTP
import Models
import Postgres
import Security

/// A command with its key. The same command under the same key gets the same answer again; a refused command has
/// changed nothing and does not use its key up.
struct IdempotentCommand: Sendable {
    let key: IdempotencyKey
    /// SHA-256 of what is commanded, so that another command under the same key is told apart.
    let fingerprint: [UInt8]

    static let keyBytesMax = 200

    /// - Parameters:
    ///   - name: tells commands of different routes apart.
    ///   - content: what is commanded, in one form whatever the request's spelling.
    /// - Throws: `Problem` 400 where the header is missing or is no key.
    init(_ request: HTTPRequest, by owner: AccountID, name: String, content: [UInt8]) throws(Problem) {
        guard
            let text = request.header("Idempotency-Key"), (1...Self.keyBytesMax).contains(text.utf8.count),
            text.utf8.allSatisfy({ (0x21...0x7e).contains($0) })
        else {
            throw .badRequest(
                fields: [
                    FieldProblem(
                        "Idempotency-Key", expected: "a header of 1 to \(Self.keyBytesMax) visible ASCII characters")
                ])
        }
        key = IdempotencyKey(owner: owner, key: text)
        fingerprint = Digest.sha256(Array(name.utf8) + [0] + content)
    }

    static let running = Problem(
        409, type: "idempotency-key-in-use", title: "A command with this key is being carried out",
        detail: "Ask again shortly: the same answer will be given.", retryAfterSeconds: 1)

    static let reused = Problem(
        422, type: "idempotency-key-reused", title: "This key was used for another command",
        detail: "A new command needs a new Idempotency-Key.")
}

/// The answers that are kept for some keys.
struct KeptAnswers: Sendable {
    private let byKey: [IdempotencyKey: (fingerprint: [UInt8], answer: KeptAnswer)]

    init(_ rows: Rows) throws(PostgresError) {
        var byKey: [IdempotencyKey: (fingerprint: [UInt8], answer: KeptAnswer)] = [:]
        for row in rows {
            let answer = KeptAnswer(
                status: try row.get(3), location: try row.get(4), body: try row.get(5, as: [UInt8].self))
            byKey[IdempotencyKey(owner: try row.get(0), key: try row.get(1))] = (try row.get(2), answer)
        }
        self.byKey = byKey
    }

    /// What the command was answered before, nil when it is new.
    /// - Throws: `Problem` 422 where the key was another command's.
    func answer(_ command: IdempotentCommand) throws(Problem) -> KeptAnswer? {
        guard let kept = byKey[command.key] else { return nil }
        guard kept.fingerprint == command.fingerprint else { throw IdempotentCommand.reused }
        return kept.answer
    }
}

extension KeptAnswer {
    var response: HTTPResponse {
        let response = HTTPResponse.json(Int(status), body)
        return location.map { response.with("Location", $0) } ?? response
    }
}

/// Does the work again when it lost a race against another transaction: it has changed nothing.
func retryingLostRaces<Result: Sendable>(
    _ work: @Sendable () async throws -> Result
) async throws -> Result {
    for _ in 0..<4 {
        do {
            return try await work()
        } catch let error as PostgresError where error.isRetriable && !error.isUnavailable {
            continue
        }
    }
    return try await work()
}
