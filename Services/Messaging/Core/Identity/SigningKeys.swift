// The keys that sign access tokens, and the topic that lets every service verify them.
import EventPipeline
import JSON
import Kafka
import Models
import Observability
import Runtime
import Security
import ServiceKit
import Synchronization

/// Makes keys in time, publishes them, and signs with the one whose turn it is.
///
/// The instances share the keys through the schema, sealed by the root secret, so a token outlives the instance that issued
/// it and a restart adds none. The next key is published long before it signs; the very first signs once it was read back
/// from the topic. Keys that another secret sealed are published until their tokens have run out, and sign no more.
final class SigningKeys: Component {
    let name = "keys"

    /// How long a key signs.
    static let signsSeconds: Int64 = 24 * 3600
    /// How long before its turn a key is published.
    static let leadSeconds: Int64 = 3600
    private static let checkSeconds = 60
    private static let readBackSecondsMax = 30

    private let relay: Relay
    private let verifier: TokenVerifier
    private let context: ServiceContext
    /// How long an access token is valid.
    let tokenSeconds: Int64
    private let root: RootSecret
    private let records: AccessRecords
    private let sessionEnded: @Sendable (SessionID) -> Void
    private let state = Mutex(State())

    private struct State {
        var keys: [Signing] = []
        var readBack: Set<String> = []
        var waiting: [String: [CheckedContinuation<Void, Never>]] = [:]
        var checking: Periodic?
    }

    private struct Signing {
        let key: SigningKey
        let until: Timestamp
    }

    /// - Parameter sessionEnded: told of a session whose tokens are refused from now on.
    init(
        _ context: ServiceContext, relay: Relay, verifier: TokenVerifier, root: Identity.Root, tokenSeconds: Int64,
        sessionEnded: @escaping @Sendable (SessionID) -> Void
    ) {
        self.context = context
        self.relay = relay
        self.verifier = verifier
        self.root = root.secret
        self.tokenSeconds = tokenSeconds
        self.sessionEnded = sessionEnded
        records = AccessRecords(verifier: verifier, roots: root.keys, now: context.now)
    }

    /// Whether a key signs now.
    var isReady: Bool {
        let now = context.now()
        return state.withLock { state in state.keys.contains { now < $0.until } }
    }

    var detail: String? { state.withLock { $0.checking?.lastError } ?? "no key signs now" }

    func start() async throws {
        let signing = try await refresh(republishes: true)
        try await waitUntilReadBack(signing)
        let checking = Periodic.watched("keys", every: .seconds(Self.checkSeconds), runsAtOnce: false, context) {
            [self] in _ = try await refresh(republishes: false)
        }
        state.withLock { $0.checking = checking }
        checking.start()
    }

    func stop() async {
        let checking = state.withLock { $0.checking.take() }
        await checking?.stop()
    }

    /// Signs for the account.
    /// - Throws: `NoSigningKey`.
    ///
    /// The token is remembered, so that its first use here costs no signature check.
    func issue(_ account: AccountID, kind: AccountKind, session: SessionID, at now: Timestamp) throws -> String {
        guard let key = state.withLock({ state in state.keys.first { now < $0.until }?.key ?? state.keys.last?.key })
        else { throw NoSigningKey() }
        let seconds = now.microseconds / 1_000_000
        let claims = AccessClaims(sub: account, kind: kind, sid: session, iat: seconds, exp: seconds + tokenSeconds)
        let token = try key.sign(claims: claims)
        verifier.remember(token, claims)
        return token
    }

    /// One record of `keys`.
    func apply(_ key: ByteView, _ type: String, _ body: JSONValue?) throws(JSONError) {
        switch try records.apply(key, type, body) {
        case .key(let keyID):
            let waiting = state.withLock { state in
                state.readBack.insert(keyID)
                return state.waiting.removeValue(forKey: keyID) ?? []
            }
            for continuation in waiting { continuation.resume() }
        case .endedSession(let session): sessionEnded(session)
        case nil: break
        }
    }

    private func learn(_ key: StoredKey) {
        guard key.notAfter > context.now() else { return }
        do {
            try verifier.update(keyID: key.keyId, jwk: key.jwk, notAfter: key.notAfter)
        } catch {
            context.log.error("a public key cannot be used", ["key_id": key.keyId, "error": "\(error)"])
        }
    }

    /// Brings the keys up to date with the schema and the clock. Returns the ID of the key that signs.
    private func refresh(republishes: Bool) async throws -> String {
        let (tokenSeconds, root) = (tokenSeconds, root)
        let keys = try await relay.commit { unit in
            let now = unit.now
            let taken = try await unit.transaction.pipeline([KeyStatements.lock, KeyStatements.takeUnsealed])
            // The version before published them without a proof.
            let sealed = try KeyStatements.unsealedRow.all(taken[1]).map { $0.sealed(by: root) }
            for key in sealed { try await unit.transaction.execute(KeyStatements.insert(key)) }
            let rows = try await unit.transaction.pipeline([KeyStatements.removeExpired(at: now), KeyStatements.all])
            for keyId in try rows[0].column(0, as: String.self) {
                unit.publishTombstone(.keys, key: Array(keyId.utf8))
            }
            var keys = try KeyStatements.keyRow.all(rows[1])
            for key in keys where republishes || sealed.contains(where: { $0.keyId == key.keyId }) {
                unit.publish(key.published(provenBy: root))
            }
            let own = keys.filter { root.open($0.sealed) != nil }
            if own.allSatisfy({ $0.signsUntil <= now.adding(seconds: Self.leadSeconds) }) {
                let begins = max(own.last?.signsUntil ?? now, now)
                let key = try Self.makeKey(
                    signsUntil: begins.adding(seconds: Self.signsSeconds), tokenSeconds, sealedBy: root)
                unit.transaction.finish(KeyStatements.insert(key))
                unit.publish(key.published(provenBy: root))
                keys.append(key)
            }
            return keys
        }
        var signing: [Signing] = []
        for key in keys {
            learn(key)
            guard let plain = root.open(key.sealed) else { continue }
            signing.append(
                Signing(
                    key: try SigningKey(privateJWK: String(decoding: plain, as: UTF8.self)), until: key.signsUntil))
        }
        let now = context.now()
        // There is one at least: the newest was made here or is another's of the same secret.
        let current = signing.first { now < $0.until } ?? signing[signing.count - 1]
        state.withLock { $0.keys = signing }
        return current.key.keyID
    }

    private static func makeKey(
        signsUntil: Timestamp, _ tokenSeconds: Int64, sealedBy root: RootSecret
    ) throws -> StoredKey {
        let key = try SigningKey.generate()
        return StoredKey(
            keyId: key.keyID, jwk: key.publicJWK, sealed: root.seal(try key.exportPrivateJWK().utf8),
            signsUntil: signsUntil, notAfter: signsUntil.adding(seconds: tokenSeconds + 3600))
    }

    private func waitUntilReadBack(_ keyID: String) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                await withTaskCancellationHandler {
                    await withCheckedContinuation { continuation in
                        let isThere = self.state.withLock { state in
                            if state.readBack.contains(keyID) || Task.isCancelled { return true }
                            state.waiting[keyID, default: []].append(continuation)
                            return false
                        }
                        if isThere { continuation.resume() }
                    }
                } onCancel: {
                    let waiting = self.state.withLock { $0.waiting.removeValue(forKey: keyID) ?? [] }
                    for continuation in waiting { continuation.resume() }
                }
            }
            group.addTask {
                try await Task.sleep(for: .seconds(Self.readBackSecondsMax))
                throw KeyNotPublished()
            }
            defer { group.cancelAll() }
            _ = try await group.next()
        }
    }
}

/// There is no key that an access token could be signed with yet.
struct NoSigningKey: Error, Sendable {}

/// The key that is to sign did not come back from the topic: other services could not verify its tokens.
struct KeyNotPublished: Error, Sendable, CustomStringConvertible {
    var description: String { "the signing key did not come back from the topic keys" }
}
