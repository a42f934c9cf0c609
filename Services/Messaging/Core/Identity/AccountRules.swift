// What a handle and a password may be.

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

    /// What a device calls itself, without control characters, and cut between two characters.
    static func device(_ agent: String) -> String {
        var device = String.UnicodeScalarView()
        var bytes = 0
        for scalar in agent.unicodeScalars where scalar.value >= 32 {
            bytes += UTF8.width(scalar)
            guard bytes <= deviceBytesMax else { break }
            device.append(scalar)
        }
        return String(device)
    }
    static let issuerCharactersMax = 255
    static let subjectCharactersMax = 255
    /// Accounts in one import.
    static let importMax = 1000

    /// The handle in the form in which it is unique: lower case. Letters and digits of ASCII, with `.`, `_` or `-`
    /// between them.
    static func handle(_ text: String) -> String? {
        // Of ASCII before anything else: what is no letter of it becomes one in lower case.
        guard handleBytes.contains(text.utf8.count), text.utf8.allSatisfy({ $0 < 0x80 }) else { return nil }
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
}
