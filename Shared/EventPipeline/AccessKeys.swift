// The keys that verify access tokens, as the topic `keys` says they are now.
import JSON
import Kafka
import Models
import Observability
import Security
import ServiceKit

/// Keeps a verifier supplied with messaging's public keys. Ready while all that the topic holds are known.
public final class AccessKeys: Component {
    public let name = "access keys"
    public let verifier: TokenVerifier
    private let table: CompactedTable

    /// - Parameter verifier: one that the service has filled already, if it issues tokens itself.
    public init(_ context: ServiceContext, verifier: TokenVerifier = TokenVerifier()) {
        self.verifier = verifier
        table = CompactedTable(context, topic: .keys) { (key, type, body) throws(JSONError) in
            guard let body else { return verifier.remove(keyID: String(decoding: key, as: UTF8.self)) }
            guard type == VerificationKey.type else { return }
            let published = try VerificationKey(json: body)
            do {
                try verifier.update(keyID: published.keyId, jwk: published.jwk, notAfter: published.notAfter)
            } catch {
                throw JSONError(path: "jwk", expected: "a public P-256 key (\(error))")
            }
        }
    }

    public var isReady: Bool { table.isReady }
    public var detail: String? { table.detail }
    public func start() async throws { try await table.start() }
    public func stop() async { await table.stop() }
}
