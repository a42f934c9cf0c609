/// Some of ASCII's characters.
public struct Alphabet: Sendable, Equatable {
    /// As within the brackets of a regular expression: `A-Za-z0-9._-`.
    public let text: String
    private var bits: (low: UInt64, high: UInt64) = (0, 0)

    /// - Parameter text: characters of ASCII, and ranges of them; a dash that stands last is itself.
    public init(_ text: StaticString) {
        self.text = "\(text)"
        var rest = Array(self.text.utf8)[...]
        while let first = rest.popFirst() {
            var last = first
            if rest.count > 1, rest.first == UInt8(ascii: "-") { last = rest.dropFirst().first ?? first }
            if last != first { rest = rest.dropFirst(2) }
            for byte in first...last {
                if byte < 64 { bits.low |= 1 << UInt64(byte) } else { bits.high |= 1 << UInt64(byte - 64) }
            }
        }
    }

    public func contains(_ byte: UInt8) -> Bool {
        byte < 64 ? bits.low >> UInt64(byte) & 1 == 1 : byte < 128 && bits.high >> UInt64(byte - 64) & 1 == 1
    }

    /// Whether all of the bytes are of it.
    public func spells(_ bytes: some Sequence<UInt8>) -> Bool { bytes.allSatisfy { contains($0) } }

    public static func == (left: Alphabet, right: Alphabet) -> Bool { left.bits == right.bits }

    /// What is seen: neither spaces nor control characters.
    public static let visible = Alphabet("!-~")
}
