// What decides whether an access token is good, as the topic `keys` says it is now.
import JSON
import Kafka
import Models
import Observability
import Security
import ServiceKit

/// Applies the records of `keys` to a verifier: public keys, and sessions whose tokens are refused before they run out.
/// What no configured root key proves is not believed.
public struct AccessRecords: Sendable {
    public let verifier: TokenVerifier
    private let roots: RootKeys
    private let now: @Sendable () -> Timestamp

    public init(verifier: TokenVerifier, roots: RootKeys, now: @escaping @Sendable () -> Timestamp) {
        self.verifier = verifier
        self.roots = roots
        self.now = now
    }

    public enum Applied: Sendable {
        case key(String), endedSession(SessionID)
    }

    /// Applies one record and says what is known now.
    public func apply(_ key: ByteView, _ type: String, _ body: JSONValue?) throws(JSONError) -> Applied? {
        let name = String(decoding: key, as: UTF8.self)
        guard let body else {
            // An ended session is forgotten by the clock alone.
            verifier.remove(keyID: name)
            return nil
        }
        switch type {
        case VerificationKey.type:
            let published = try VerificationKey(json: body)
            guard published.keyId.utf8.elementsEqual(key) else {
                throw JSONError(path: "keyId", expected: "the record's key")
            }
            try believe(published)
            guard published.notAfter > now() else { return nil }
            do {
                try verifier.update(keyID: published.keyId, jwk: published.jwk, notAfter: published.notAfter)
            } catch {
                throw JSONError(path: "jwk", expected: "a public P-256 key (\(error))")
            }
            return .key(published.keyId)
        case SessionEnded.type:
            let ended = try SessionEnded(json: body)
            try believe(ended)
            verifier.refuse(ended.sessionId, until: ended.refusedUntil, now: now())
            return .endedSession(ended.sessionId)
        default: return nil
        }
    }

    private func believe(_ payload: some ProvenPayload) throws(JSONError) {
        guard let proof = payload.proof, roots.prove(payload.provenBytes, by: proof) else {
            throw JSONError(path: "proof", expected: "a proof by a root key of \(AccessKeys.rootKeys.name)")
        }
    }
}

/// Keeps a verifier supplied with what messaging says of access tokens. Ready while all that the topic holds is known.
public final class AccessKeys: Consumer {
    /// The configuration of every service that verifies tokens.
    public static let rootKeys = ConfigurationKey(
        "STAMPEDE_ROOT_KEYS",
        "Whose keys for tokens are believed: what `stampede keys root` says of messaging's secret, or two separated by a comma",
        .secret, required: true)

    public let name = "access keys"
    public let topic = Topic.keys
    public let group: String? = nil
    public let verifier: TokenVerifier
    private let table: CompactedTable

    /// - Throws: `ConfigurationError` where the root keys are none.
    public init(_ context: ServiceContext) throws {
        guard let roots = RootKeys(context.configuration.secret(Self.rootKeys.name).value) else {
            throw ConfigurationError([
                "\(Self.rootKeys.name): expected what `stampede keys root` says, or two of them separated by a comma"
            ])
        }
        let records = AccessRecords(verifier: TokenVerifier(), roots: roots, now: context.now)
        verifier = records.verifier
        table = CompactedTable(context, topic: .keys) { (key, type, body) throws(JSONError) in
            _ = try records.apply(key, type, body)
        }
    }

    public var isReady: Bool { table.isReady }
    public var detail: String? { table.detail }
    public func start() async throws { try await table.start() }
    public func stop() async { await table.stop() }
}
