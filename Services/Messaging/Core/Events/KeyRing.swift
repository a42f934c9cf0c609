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
/// The instances share the keys through the schema, so a token outlives the instance that issued it and a restart adds
/// none. The next key is published long before it signs; the very first signs once it was read back from the topic.
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

    init(_ context: ServiceContext, relay: Relay, verifier: TokenVerifier, tokenSeconds: Int64) {
        self.context = context
        self.relay = relay
        self.verifier = verifier
        self.tokenSeconds = tokenSeconds
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
        let keyID = String(decoding: key, as: UTF8.self)
        guard let body else {
            return verifier.remove(keyID: keyID)
        }
        guard type == VerificationKey.type else { return }
        let published = try VerificationKey(json: body)
        guard published.keyId == keyID else { throw JSONError(path: "keyId", expected: "the record's key") }
        learn(published)
        let waiting = state.withLock { state in
            state.readBack.insert(keyID)
            return state.waiting.removeValue(forKey: keyID) ?? []
        }
        for continuation in waiting { continuation.resume() }
    }

    private func learn(_ key: VerificationKey) {
        guard key.notAfter > context.now() else { return }
        do {
            try verifier.update(keyID: key.keyId, jwk: key.jwk, notAfter: key.notAfter)
        } catch {
            context.log.error("a public key cannot be used", ["key_id": key.keyId, "error": "\(error)"])
        }
    }

    /// Brings the keys up to date with the schema and the clock. Returns the ID of the key that signs.
    private func refresh(republishes: Bool) async throws -> String {
        let tokenSeconds = tokenSeconds
        let keys = try await relay.commit { step in
            let now = step.now
            try await KeyStorage.lock(in: step.transaction)
            for keyID in try await KeyStorage.removeExpired(at: now, in: step.transaction) {
                step.publishTombstone(.keys, key: Array(keyID.utf8))
            }
            var keys = try await KeyStorage.all(in: step.transaction)
            if republishes {
                for key in keys { step.publish(key.published) }
            }
            if keys.allSatisfy({ $0.signsUntil <= now.adding(seconds: Self.leadSeconds) }) {
                let begins = max(keys.last?.signsUntil ?? now, now)
                let key = try Self.makeKey(signsUntil: begins.adding(seconds: Self.signsSeconds), tokenSeconds)
                try await KeyStorage.insert(key, in: step.transaction)
                step.publish(key.published)
                keys.append(key)
            }
            return keys
        }
        var signing: [Signing] = []
        for key in keys {
            learn(key.published)
            signing.append(Signing(key: try SigningKey(privateJWK: key.privateJWK), until: key.signsUntil))
        }
        let now = context.now()
        let current = signing.first { now < $0.until } ?? signing[signing.count - 1]
        state.withLock { $0.keys = signing }
        return current.key.keyID
    }

    private static func makeKey(signsUntil: Timestamp, _ tokenSeconds: Int64) throws -> KeyStorage.Key {
        let key = try SigningKey.generate()
        return KeyStorage.Key(
            published: VerificationKey(
                keyId: key.keyID, jwk: key.publicJWK, notAfter: signsUntil.adding(seconds: tokenSeconds + 3600)),
            privateJWK: try key.exportPrivateJWK(), signsUntil: signsUntil)
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
