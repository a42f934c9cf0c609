// Randomness that nobody can guess.
import CSodium

/// The kernel's randomness, by libsodium.
public enum Random {
    public static func bytes(_ count: Int) -> [UInt8] {
        _ = Sodium.isReady
        return [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            if let start = buffer.baseAddress { randombytes_buf(start, count) }
            initialized = count
        }
    }

    public static func uint64() -> UInt64 {
        _ = Sodium.isReady
        return UInt64(randombytes_random()) << 32 | UInt64(randombytes_random())
    }

    /// A secret to hand out, such as a refresh token: `bytes` of randomness as base64url.
    public static func token(bytes count: Int = 32) -> String { Base64URL.encode(bytes(count)) }
}
