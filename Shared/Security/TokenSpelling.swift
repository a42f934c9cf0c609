// The one spelling of a token. Whoever limits, counts or remembers by a token's text relies on its being the only one.

/// A compact JWS of ES256, taken apart.
///
/// Three parts of base64url without padding, whose unused bits are zero, and of the two signatures (r, s) and (r, n - s)
/// that fit whatever one of them fits the one with the smaller s. Header and payload are signed, so they have one spelling.
struct TokenSpelling {
    let header: [UInt8]
    let payload: [UInt8]
    /// r and s, 32 bytes each.
    let signature: [UInt8]

    /// Nil for everything that is spelt otherwise.
    init?(_ token: String) {
        let parts = token.split(separator: ".", maxSplits: 3, omittingEmptySubsequences: false)
        guard parts.count == 3, let header = Base64URL.decode(String(parts[0])),
            let payload = Base64URL.decode(String(parts[1])), let signature = Base64URL.decode(String(parts[2])),
            signature.count == 64
        else { return nil }
        self.header = header
        self.payload = payload
        self.signature = signature
    }

    /// Whether s is the smaller of the two that fit.
    var isLow: Bool { !Self.half.lexicographicallyPrecedes(signature[32...]) }

    /// The token with the smaller s: what a signer hands out. Nil for what is no token.
    static func low(_ token: String) -> String? {
        guard let spelling = TokenSpelling(token), let dot = token.lastIndex(of: ".") else { return nil }
        if spelling.isLow { return token }
        var s = [UInt8](repeating: 0, count: 32)
        var borrow = 0
        for index in (0..<32).reversed() {
            let difference = Int(order[index]) - Int(spelling.signature[32 + index]) - borrow
            borrow = difference < 0 ? 1 : 0
            s[index] = UInt8(truncatingIfNeeded: difference)
        }
        return token[...dot] + Base64URL.encode(spelling.signature[..<32] + s)
    }

    /// n, the order of P-256's base point (FIPS 186-5), and its half rounded down: the greatest small s.
    private static let order: [UInt8] = [
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ]
    private static let half: [UInt8] = [
        0x7f, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xde, 0x73, 0x7d, 0x56, 0xd3, 0x8b, 0xcf, 0x42, 0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8,
    ]
}
