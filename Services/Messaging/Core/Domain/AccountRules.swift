// What a handle, a password and a language tag may be.
import Models

enum AccountRules {
    static let handleBytes = 3...32
    /// NIST SP 800-63B asks for eight; the upper bound keeps hashing from being fed a megabyte.
    static let passwordCharacters = 8...256
    /// Handles that sound like whoever runs the installation: only the operator gives them, to brands.
    static let reservedHandles: Set<String> = [
        "abuse", "account", "accounts", "admin", "administrator", "api", "help", "helpdesk", "moderator", "official",
        "operator", "payment", "payments", "postmaster", "root", "security", "service", "staff", "stampede", "support",
        "system", "wallet", "webmaster",
    ]
    static let deviceBytesMax = 200
    static let issuerBytesMax = 255
    static let subjectBytesMax = 255
    /// Accounts in one import.
    static let importMax = 1000

    /// The handle in the form in which it is unique: lower case. Letters and digits of ASCII, with `.`, `_` or `-`
    /// between them.
    static func handle(_ text: String) -> String? {
        guard handleBytes.contains(text.utf8.count) else { return nil }
        let lowered = text.lowercased()
        let bytes = Array(lowered.utf8)
        func isWord(_ byte: UInt8) -> Bool {
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
        }
        guard isWord(bytes[0]), isWord(bytes[bytes.count - 1]),
            bytes.allSatisfy({ isWord($0) || $0 == 0x2d || $0 == 0x2e || $0 == 0x5f })
        else { return nil }
        return lowered
    }

    /// Whether the text has the shape of a BCP 47 tag: `en`, `zh-Hans-CN`.
    static func isLocale(_ text: String) -> Bool {
        guard text.utf8.count <= Account.localeBytesMax else { return false }
        let parts = text.utf8.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
        guard let language = parts.first, (2...8).contains(language.count), language.allSatisfy(isLetter) else {
            return false
        }
        return parts.dropFirst().allSatisfy { part in
            (1...8).contains(part.count) && part.allSatisfy { isLetter($0) || (48...57).contains($0) }
        }
    }

    private static func isLetter(_ byte: UInt8) -> Bool {
        (65...90).contains(byte) || (97...122).contains(byte)
    }
}
