// The keys that sign access tokens, and the topic that lets every service verify them.
import EventPipeline
import HTTP
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
final class KeyRing: Component {
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
    private let tokenSeconds: Int64
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
        _ context: ServiceContext, relay: Relay, verifier: TokenVerifier, root: RootSecret, roots: RootKeys,
        tokenSeconds: Int64, sessionEnded: @escaping @Sendable (SessionID) -> Void
    ) {
        self.context = context
        self.relay = relay
        self.verifier = verifier
        self.root = root
        self.tokenSeconds = tokenSeconds
        self.sessionEnded = sessionEnded
        records = AccessRecords(verifier: verifier, roots: roots, now: context.now)
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

    /// Signs for the account. The token is remembered, so that its first use here costs no signature check.
    func issue(_ account: AccountID, kind: AccountKind, session: SessionID, at now: Timestamp) throws -> String {
        guard let key = state.withLock({ state in state.keys.first { now < $0.until }?.key ?? state.keys.last?.key })
        else { throw Problem.unavailable(retryAfterSeconds: 1, "No key to sign with yet.") }
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

    /// Refuses the tokens of sessions that a step ends: here once it is committed, elsewhere when its events come.
    func publish(_ ended: SessionStorage.Ended, in step: Step) {
        for (session, until) in ended.refused {
            step.publish(SessionEnded(sessionId: session, refusedUntil: until, provenBy: root.proof))
        }
    }

    /// After the commit.
    func refuse(_ ended: SessionStorage.Ended) {
        for (session, until) in ended.refused {
            verifier.refuse(session, until: until, now: context.now())
            sessionEnded(session)
        }
    }

    private func learn(_ key: KeyStorage.Key) {
        guard key.notAfter > context.now() else { return }
        do {
            try verifier.update(keyID: key.keyID, jwk: key.jwk, notAfter: key.notAfter)
        } catch {
            context.log.error("a public key cannot be used", ["key_id": key.keyID, "error": "\(error)"])
        }
    }

    /// Brings the keys up to date with the schema and the clock. Returns the ID of the key that signs.
    private func refresh(republishes: Bool) async throws -> String {
        let (tokenSeconds, root) = (tokenSeconds, root)
        let keys = try await relay.commit { step in
            let now = step.now
            try await KeyStorage.lock(in: step.transaction)
            // The version before published them without a proof.
            let plain = try await KeyStorage.sealPlain(by: root, in: step.transaction)
            for keyID in try await KeyStorage.removeExpired(at: now, in: step.transaction) {
                step.publishTombstone(.keys, key: Array(keyID.utf8))
            }
            var keys = try await KeyStorage.all(in: step.transaction)
            for key in keys where republishes || plain.contains(where: { $0.keyID == key.keyID }) {
                step.publish(key.published(provenBy: root))
            }
            let own = keys.filter { root.open($0.sealed) != nil }
            if own.allSatisfy({ $0.signsUntil <= now.adding(seconds: Self.leadSeconds) }) {
                let begins = max(own.last?.signsUntil ?? now, now)
                let key = try Self.makeKey(
                    signsUntil: begins.adding(seconds: Self.signsSeconds), tokenSeconds, sealedBy: root)
                try await KeyStorage.insert(key, in: step.transaction)
                step.publish(key.published(provenBy: root))
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
    ) throws -> KeyStorage.Key {
        let key = try SigningKey.generate()
        return KeyStorage.Key(
            keyID: key.keyID, jwk: key.publicJWK, sealed: root.seal(try key.exportPrivateJWK().utf8),
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

/// The key that is to sign did not come back from the topic: other services could not verify its tokens.
struct KeyNotPublished: Error, Sendable, CustomStringConvertible {
    var description: String { "the signing key did not come back from the topic keys" }
}
