// Passwords, kept as argon2id (RFC 9106).
import CSodium
import Dispatch
import Foundation
import Synchronization

/// Hashes and checks passwords on threads of their own, so that a rush of sign-ins neither stops other requests nor
/// takes more than `threads` times `memoryBytes`. New hashes are made on the first thread alone: whoever signs up, however
/// many they are, leaves the others to those who sign in.
///
/// A password is hashed in Unicode's composed form (NFC), so that it is the same on every keyboard.
///
/// The cost is OWASP's first recommendation for argon2id: 19 MiB and two passes.
public enum PasswordHash {
    public static let memoryBytes = 19 << 20
    public static let passes: UInt64 = 2
    public static let threads = 2
    /// Beyond so many that wait to be checked, further ones are refused.
    public static let waitingMax = 128
    /// The same for new hashes.
    public static let newWaitingMax = 32
    /// Longer passwords, in the composed form, are refused: nobody types them, and hashing them is work for nothing.
    public static let passwordBytesMax = 4096

    public enum Failure: Error, Sendable, Equatable {
        /// `waitingMax` others wait already, or `newWaitingMax`: try again in a moment.
        case busy
        case tooLong
        /// There was no memory for a hash.
        case outOfMemory
    }

    /// The hash as text, with its parameters and salt, to store: `$argon2id$v=19$m=19456,t=2,p=1$…`.
    public static func make(_ password: String) async throws(Failure) -> String {
        try await run(composed(password), isNew: true) { (password) throws(Failure) in
            var text = [CChar](repeating: 0, count: Int(crypto_pwhash_STRBYTES))
            guard crypto_pwhash_str(&text, password, UInt64(password.utf8.count), passes, memoryBytes) == 0 else {
                throw .outOfMemory
            }
            return String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        }
    }

    public enum Verdict: Sendable, Equatable {
        case wrong, right
        /// The hash was made at another cost than today's, or before passwords were composed: make a new one.
        case rightAndOutdated

        public var isRight: Bool { self != .wrong }
    }

    /// Whether the password is the one of this hash. Without a hash (nobody has that name) the same work is done and
    /// the answer is no, so that time does not tell which names exist.
    ///
    /// Hashes were once made of passwords as they came. One that does not fit in the composed form is tried as it came and
    /// decomposed, which costs only those whose password has such characters.
    public static func verify(_ password: String, against hash: String?) async throws(Failure) -> Verdict {
        let composed = composed(password)
        return try await run(composed, isNew: false) { (composed) throws(Failure) in
            let text = hash ?? standIn
            // Anything else that crypto_pwhash_str_verify reads is not ours.
            guard text.utf8.count < crypto_pwhash_STRBYTES, text.hasPrefix("$argon2id$") else { return .wrong }
            func fits(_ password: String) -> Bool {
                crypto_pwhash_str_verify(text, password, UInt64(password.utf8.count)) == 0 && hash != nil
            }
            if fits(composed) { return isOutdated(text) ? .rightAndOutdated : .right }
            let decomposed = composed.decomposedStringWithCanonicalMapping
            var tried = [Array(composed.utf8)]
            for form in [password, decomposed] where !tried.contains(Array(form.utf8)) {
                if fits(form) { return .rightAndOutdated }
                tried.append(Array(form.utf8))
            }
            return .wrong
        }
    }

    /// The form that is hashed: NFC. (Not NFKC, which takes characters for equal that people tell apart.)
    public static func composed(_ password: String) -> String { password.precomposedStringWithCanonicalMapping }

    /// Whether the hash was made at another cost than today's.
    static func isOutdated(_ hash: String) -> Bool {
        guard hash.utf8.count < crypto_pwhash_STRBYTES else { return true }
        return crypto_pwhash_str_needs_rehash(hash, passes, memoryBytes) != 0
    }

    /// The hash of nobody's password.
    private static let standIn: String = {
        var text = [CChar](repeating: 0, count: Int(crypto_pwhash_STRBYTES))
        let password = Random.token()
        _ = crypto_pwhash_str(&text, password, UInt64(password.utf8.count), passes, memoryBytes)
        return String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }()

    private static let queues = (0..<threads).map { DispatchQueue(label: "stampede.password-hash.\($0)") }

    /// What waits or is at work: by queue, and of it what is new.
    private struct Load {
        var byQueue = [Int](repeating: 0, count: threads)
        var new = 0
        var waiting: Int { byQueue.reduce(0, +) }

        /// The queue that takes one more; nil where too many wait.
        mutating func take(isNew: Bool) -> Int? {
            guard isNew ? new < newWaitingMax : waiting - new < waitingMax else { return nil }
            let queue = isNew ? 0 : byQueue.indices.min { byQueue[$0] < byQueue[$1] } ?? 0
            byQueue[queue] += 1
            if isNew { new += 1 }
            return queue
        }

        mutating func done(_ queue: Int, isNew: Bool) {
            byQueue[queue] -= 1
            if isNew { new -= 1 }
        }
    }
    private static let load = Mutex(Load())

    private static func run<R: Sendable>(
        _ password: String, isNew: Bool, _ work: @escaping @Sendable (String) throws(Failure) -> R
    ) async throws(Failure) -> R {
        _ = Sodium.isReady
        guard password.utf8.count <= passwordBytesMax else { throw .tooLong }
        guard let queue = load.withLock({ $0.take(isNew: isNew) }) else { throw .busy }
        let result: Result<R, Failure> = await withCheckedContinuation { continuation in
            queues[queue].async {
                let result = Result { () throws(Failure) in try work(password) }
                load.withLock { $0.done(queue, isNew: isNew) }
                continuation.resume(returning: result)
            }
        }
        return try result.get()
    }
}
