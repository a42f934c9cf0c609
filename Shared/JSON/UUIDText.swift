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
        func four(_ start: Int) -> UInt64 {
            UInt64(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: start, as: UInt32.self)))
        }
        func eight(_ start: Int) -> UInt64 {
            UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: start, as: UInt64.self))
        }
        guard let first = number(eight(0)), let second = number(four(9) | four(14) << 32),
            let third = number(four(19) | four(24) << 32), let fourth = number(eight(28))
        else { return nil }
        return (first << 32 | second, third << 32 | fourth)
    }

    /// What eight hexadecimal digits come to, the first of them in the lowest byte: all eight at once, nil where one is none.
    private static func number(_ digits: UInt64) -> UInt64? {
        func each(_ byte: UInt64) -> UInt64 { 0x0101_0101_0101_0101 &* byte }
        // In each byte the highest bit says whether it is at least the bound; ASCII leaves that bit free.
        func atLeast(_ bound: UInt8, _ bytes: UInt64) -> UInt64 { bytes &+ each(UInt64(0x80 - bound)) }
        guard digits & each(0x80) == 0 else { return nil }
        let lowered = digits | each(0x20)
        let isDecimal = atLeast(0x30, digits) & ~atLeast(0x3a, digits)
        let isLetter = atLeast(0x61, lowered) & ~atLeast(0x67, lowered)
        guard (isDecimal | isLetter) & each(0x80) == each(0x80) else { return nil }
        let values = digits & each(0x0f) &+ (isLetter & each(0x80)) >> 7 &* 9
        var number = values.byteSwapped
        number = (number | number >> 4) & 0x00ff_00ff_00ff_00ff
        number = (number | number >> 8) & 0x0000_ffff_0000_ffff
        return (number | number >> 16) & 0xffff_ffff
    }

    /// Appends the 36 characters.
    public static func append(_ high: UInt64, _ low: UInt64, to bytes: inout [UInt8]) {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: count) { text in
            write(high, low, to: UnsafeMutableRawBufferPointer(text))
            bytes.append(contentsOf: text)
        }
    }

    /// Writes the 36 characters to the beginning of the buffer.
    private static func write(_ high: UInt64, _ low: UInt64, to text: UnsafeMutableRawBufferPointer) {
        func eight(_ start: Int, _ characters: UInt64) {
            text.storeBytes(of: characters.littleEndian, toByteOffset: start, as: UInt64.self)
        }
        func four(_ start: Int, _ characters: UInt64) {
            text.storeBytes(
                of: UInt32(truncatingIfNeeded: characters).littleEndian, toByteOffset: start, as: UInt32.self)
        }
        let (first, second) = (digits(high >> 32), digits(high & 0xffff_ffff))
        let (third, fourth) = (digits(low >> 32), digits(low & 0xffff_ffff))
        eight(0, first)
        four(9, second)
        four(14, second >> 32)
        four(19, third)
        four(24, third >> 32)
        eight(28, fourth)
        (text[8], text[13], text[18], text[23]) = (dash, dash, dash, dash)
    }

    /// Eight hexadecimal digits of 32 bits, the first of them in the lowest byte: all eight at once.
    private static func digits(_ number: UInt64) -> UInt64 {
        func each(_ byte: UInt64) -> UInt64 { 0x0101_0101_0101_0101 &* byte }
        var values = (number | number << 16) & 0x0000_ffff_0000_ffff
        values = (values | values << 8) & 0x00ff_00ff_00ff_00ff
        values = (values | values << 4) & each(0x0f)
        values = values.byteSwapped
        let isLetter = (values &+ each(6)) >> 4 & each(1)
        return values &+ each(0x30) &+ isLetter &* 0x27
    }

    private static let dash = UInt8(ascii: "-")
}
