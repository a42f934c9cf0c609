// One line of the log: a flat JSON object of strings that no value can break out of.

/// Builds `{"name":"value",…}\n`. What is no visible character is escaped (controls, line separators, marks that turn the
/// direction of writing or have no width), so that a hostile value can neither end the line, nor speak to the terminal
/// that shows it, nor look like something else there.
struct LogLine {
    /// Members that the logger itself writes; metadata of the same name gets an underscore.
    static let reserved: Set<String> = ["time", "level", "service", "message", "trace_id"]

    private var bytes: [UInt8] = [UInt8(ascii: "{")]

    init() { bytes.reserveCapacity(256) }

    mutating func append(_ name: String, _ value: String) {
        if bytes.count > 1 { bytes.append(UInt8(ascii: ",")) }
        appendQuoted(name)
        bytes.append(UInt8(ascii: ":"))
        appendQuoted(value)
    }

    consuming func finished() -> [UInt8] {
        bytes.append(UInt8(ascii: "}"))
        bytes.append(UInt8(ascii: "\n"))
        return bytes
    }

    private mutating func appendQuoted(_ text: String) {
        bytes.append(UInt8(ascii: "\""))
        for scalar in text.unicodeScalars {
            switch scalar.value {
            case 0x22: bytes.append(contentsOf: #"\""#.utf8)
            case 0x5C: bytes.append(contentsOf: #"\\"#.utf8)
            case 0x0A: bytes.append(contentsOf: #"\n"#.utf8)
            case 0..<0x20, 0x7F..<0xA0, 0x200B...0x200F, 0x2028...0x202E, 0x2060...0x206F, 0xFEFF:
                let hex = String(scalar.value, radix: 16)
                bytes.append(contentsOf: #"\u"#.utf8)
                for _ in hex.count..<4 { bytes.append(UInt8(ascii: "0")) }
                bytes.append(contentsOf: hex.utf8)
            default: bytes.append(contentsOf: String(Character(scalar)).utf8)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }
}
