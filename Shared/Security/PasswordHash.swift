// Passwords, kept as argon2id (RFC 9106).
import CSodium
import Dispatch
import Synchronization

/// Hashes and checks passwords on threads of their own, so that a rush of sign-ins neither stops other requests nor
/// takes more than `threads` times `memoryBytes`.
///
/// The cost is OWASP's first recommendation for argon2id: 19 MiB and two passes.
public enum PasswordHash {
    public static let memoryBytes = 19 << 20
    public static let passes: UInt64 = 2
    public static let threads = 2
    /// Beyond so many that wait, further ones are refused.
    public static let waitingMax = 128
    /// Longer passwords are refused: nobody types them, and hashing them is work for nothing.
    public static let passwordBytesMax = 1024

    public enum Failure: Error, Sendable, Equatable {
        /// `waitingMax` others wait already: try again in a moment.
        case busy
        case tooLong
        /// There was no memory for a hash.
        case outOfMemory
    }

    /// The hash as text, with its parameters and salt, to store: `$argon2id$v=19$m=19456,t=2,p=1$…`.
    public static func make(_ password: String) async throws(Failure) -> String {
        try await run(password) { () throws(Failure) in
            var text = [CChar](repeating: 0, count: Int(crypto_pwhash_STRBYTES))
            guard crypto_pwhash_str(&text, password, UInt64(password.utf8.count), passes, memoryBytes) == 0 else {
                throw .outOfMemory
            }
            return String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        }
    }

    /// Whether the password is the one of this hash. Without a hash (nobody has that name) the same work is done and
    /// the answer is no, so that time does not tell which names exist.
    public static func verify(_ password: String, against hash: String?) async throws(Failure) -> Bool {
        try await run(password) { () throws(Failure) in
            let text = hash ?? standIn
            // Anything else that crypto_pwhash_str_verify reads is not ours.
            guard text.utf8.count < crypto_pwhash_STRBYTES, text.hasPrefix("$argon2id$") else { return false }
            return crypto_pwhash_str_verify(text, password, UInt64(password.utf8.count)) == 0 && hash != nil
        }
    }

    /// Whether the hash was made at another cost than today's: make a new one at the next sign-in.
    public static func isOutdated(_ hash: String) -> Bool {
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
    private static let load = Mutex((waiting: 0, next: 0))

    private static func run<R: Sendable>(
        _ password: String, _ work: @escaping @Sendable () throws(Failure) -> R
    ) async throws(Failure) -> R {
        _ = Sodium.isReady
        guard password.utf8.count <= passwordBytesMax else { throw .tooLong }
        let queue = load.withLock { load -> DispatchQueue? in
            guard load.waiting < waitingMax else { return nil }
            load.waiting += 1
            load.next = (load.next + 1) % threads
            return queues[load.next]
        }
        guard let queue else { throw .busy }
        let result: Result<R, Failure> = await withCheckedContinuation { continuation in
            queue.async {
                let result = Result { () throws(Failure) in try work() }
                load.withLock { $0.waiting -= 1 }
                continuation.resume(returning: result)
            }
        }
        return try result.get()
    }
}
