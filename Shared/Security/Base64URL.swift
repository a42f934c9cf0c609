// base64url without padding (RFC 4648, section 5): how tokens and keys write bytes.
import CSodium

public enum Base64URL {
    public static func encode(_ bytes: some Collection<UInt8>) -> String {
        bytes.withContiguous { input in
            var text = [CChar](repeating: 0, count: sodium_base64_encoded_len(input.count, variant))
            sodium_bin2base64(&text, text.count, input.baseAddress, input.count, variant)
            // Without the terminating zero.
            return String(decoding: text.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
        }
    }

    /// Nil when the text has a character or a length that base64url never has.
    public static func decode(_ text: String) -> [UInt8]? {
        // One byte more than needed: the library wants a place to write even for an empty text.
        var bytes = [UInt8](repeating: 0, count: text.utf8.count + 1)
        var count = 0
        guard sodium_base642bin(&bytes, bytes.count, text, text.utf8.count, nil, &count, nil, variant) == 0 else {
            return nil
        }
        return Array(bytes.prefix(count))
    }

    private static let variant = Int32(sodium_base64_VARIANT_URLSAFE_NO_PADDING)
}
