// A DSN as libpq reads it: `postgresql://user:password@host:port/database?option=value`, or `option=value` pairs.
import CLibPQ

public struct DSN: Sendable {
    /// What it says itself, by libpq's names.
    let values: [String: String]
    /// Of `values`, those that libpq says to hide.
    private let hidden: [String]

    init(_ text: String) throws(PostgresError) {
        var message: UnsafeMutablePointer<CChar>?
        guard let parsed = PQconninfoParse(text, &message) else {
            let reason = message.map { oneLine(String(cString: $0)) } ?? ""
            PQfreemem(message)
            throw Self.unreadable(Self.harmless(reason))
        }
        defer { PQconninfoFree(parsed) }
        var values: [String: String] = [:]
        var hidden: [String] = []
        var option = parsed
        while let keyword = option.pointee.keyword {
            if let value = option.pointee.val {
                values[String(cString: keyword)] = String(cString: value)
                if let sign = option.pointee.dispchar, String(cString: sign) == "*" {
                    hidden.append(String(cString: value))
                }
            }
            option += 1
        }
        self.values = values
        self.hidden = hidden
    }

    /// For connecting. An `@` that stands in a password as it is ends it for libpq: what follows would be shown as the
    /// host's name.
    static func forConnecting(_ text: String) throws(PostgresError) -> DSN {
        let dsn = try DSN(text)
        if dsn.strayPassword != nil { throw unreadable(": an @ in a password is written %40") }
        return dsn
    }

    /// The passwords in a text that may be a DSN: decoded, and as they are written there.
    public static func passwords(in text: String) -> [String] {
        guard let dsn = try? DSN(text) else { return [] }
        var found: Set<String> = []
        for password in (dsn.hidden + [dsn.strayPassword].compactMap { $0 }) where !password.isEmpty {
            found.insert(password)
            found.formUnion(spellings(of: password, in: text))
        }
        return found.sorted()
    }

    /// What was meant as a password with an `@` in it.
    private var strayPassword: String? {
        guard let host = values["host"], let last = host.lastIndex(of: "@") else { return nil }
        return "\(values["password"] ?? "")@\(host[..<last])"
    }

    /// Where the text has the bytes of the password, each as it is, as `%41` or behind a backslash.
    private static func spellings(of password: String, in text: String) -> [String] {
        let text = Array(text.utf8)
        return text.indices.compactMap { start in
            // A backslash or a percent sign may stand for itself.
            var ends: Set<Int> = [start]
            for byte in password.utf8 {
                var next: Set<Int> = []
                for end in ends where end < text.count {
                    if text[end] == byte { next.insert(end + 1) }
                    if text[end] == UInt8(ascii: "\\"), end + 1 < text.count, text[end + 1] == byte {
                        next.insert(end + 2)
                    }
                    if text[end] == UInt8(ascii: "%"), end + 2 < text.count,
                        UInt8(String(decoding: text[end + 1...end + 2], as: UTF8.self), radix: 16) == byte
                    {
                        next.insert(end + 3)
                    }
                }
                ends = next
                if ends.isEmpty { return nil }
            }
            return ends.max().map { String(decoding: text[start..<$0], as: UTF8.self) }
        }
    }

    private static func unreadable(_ reason: String) -> PostgresError {
        PostgresError(
            sqlState: PostgresError.Code.invalidConfiguration,
            message: "the Postgres DSN is not readable: expected postgresql://user:password@host:port/database"
                + "?option=value, or option=value pairs" + reason)
    }

    /// libpq's own words, where they cannot hold a part of a password.
    private static func harmless(_ text: String) -> String {
        let starts = ["invalid connection option", "invalid URI query parameter"]
        return starts.contains { text.hasPrefix($0) } ? ": \(text)" : ""
    }
}
