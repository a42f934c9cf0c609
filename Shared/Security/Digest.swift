// Hashes, message authentication, and comparing without telling by time.
import CSodium

public enum Digest {
    /// The 32 bytes of SHA-256.
    public static func sha256(_ bytes: some Collection<UInt8>) -> [UInt8] {
        _ = Sodium.isReady
        var digest = [UInt8](repeating: 0, count: Int(crypto_hash_sha256_BYTES))
        bytes.withContiguous { _ = crypto_hash_sha256(&digest, $0.baseAddress, UInt64($0.count)) }
        return digest
    }

    /// The 32 bytes of HMAC-SHA-256 (RFC 2104). A key may have any length.
    public static func hmacSHA256(key: some Collection<UInt8>, _ bytes: some Collection<UInt8>) -> [UInt8] {
        _ = Sodium.isReady
        var state = crypto_auth_hmacsha256_state()
        let key = Array(key)
        _ = crypto_auth_hmacsha256_init(&state, key, key.count)
        bytes.withContiguous { _ = crypto_auth_hmacsha256_update(&state, $0.baseAddress, UInt64($0.count)) }
        var code = [UInt8](repeating: 0, count: Int(crypto_auth_hmacsha256_BYTES))
        crypto_auth_hmacsha256_final(&state, &code)
        return code
    }

    /// Compares in a time that depends on the lengths only: for secrets.
    public static func constantTimeEqual(_ left: some Collection<UInt8>, _ right: some Collection<UInt8>) -> Bool {
        guard left.count == right.count else { return false }
        return left.withContiguous { left in
            right.withContiguous { right in
                left.isEmpty || sodium_memcmp(left.baseAddress, right.baseAddress, left.count) == 0
            }
        }
    }
}

extension Collection<UInt8> {
    /// The bytes in one piece: in place where they are, copied where not.
    func withContiguous<Result>(_ body: (UnsafeBufferPointer<UInt8>) -> Result) -> Result {
        if let result = withContiguousStorageIfAvailable(body) { return result }
        return Array(self).withUnsafeBufferPointer(body)
    }
}
