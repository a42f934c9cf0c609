/// The text form of a UUID (RFC 9562): 36 characters, lower case when written, either case when read.
public enum UUIDText {
    public static let count = 36

    /// High and low half, nil when the bytes are not a UUID's text.
    public static func parse(_ bytes: some Collection<UInt8>) -> (UInt64, UInt64)? {
        guard bytes.count == count else { return nil }
        let parsed: (UInt64, UInt64)?? = bytes.withContiguousStorageIfAvailable {
            parse(UnsafeRawBufferPointer($0))
        }
        if let parsed { return parsed }
        return Array(bytes).withUnsafeBytes { parse($0) }
    }

    static func parse(_ bytes: UnsafeRawBufferPointer) -> (UInt64, UInt64)? {
        guard bytes.count == count, bytes[8] == dash, bytes[13] == dash, bytes[18] == dash, bytes[23] == dash else {
            return nil
        }
        var high: UInt64 = 0
        var low: UInt64 = 0
        var wrong: UInt8 = 0
        return values.withUnsafeBufferPointer { values in
            for index in 0..<18 where index != 8 && index != 13 {
                let value = values[Int(bytes[index])]
                wrong |= value
                high = high << 4 | UInt64(value & 15)
            }
            for index in 19..<36 where index != 23 {
                let value = values[Int(bytes[index])]
                wrong |= value
                low = low << 4 | UInt64(value & 15)
            }
            return wrong & 0x80 == 0 ? (high, low) : nil
        }
    }

    /// Appends the 36 characters.
    public static func append(_ high: UInt64, _ low: UInt64, to bytes: inout [UInt8]) {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: count) { text in
            var position = 0
            func put(_ half: UInt64, dashesAt dashes: (Int, Int)) {
                var shift: UInt64 = 64
                while shift > 0 {
                    if position == dashes.0 || position == dashes.1 {
                        text[position] = dash
                        position += 1
                    }
                    shift -= 4
                    let digit = UInt8(truncatingIfNeeded: half >> shift) & 15
                    text[position] = digit < 10 ? 48 + digit : 87 + digit
                    position += 1
                }
            }
            put(high, dashesAt: (8, 13))
            put(low, dashesAt: (18, 23))
            bytes.append(contentsOf: text)
        }
    }

    private static let dash = UInt8(ascii: "-")

    /// A hexadecimal digit's value by its character; 0x80 for what is none.
    private static let values: [UInt8] = (0...255).map { character in
        switch UInt8(character) {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt8(character) - 48
        case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt8(character) - 87
        case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt8(character) - 55
        default: 0x80
        }
    }
}
