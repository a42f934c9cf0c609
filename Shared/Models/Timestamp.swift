import JSON

/// A moment: microseconds since 1970-01-01T00:00:00Z. As text RFC 3339 in UTC, to the microsecond where it has any.
public struct Timestamp: Hashable, Comparable, Sendable {
    public let microseconds: Int64

    /// A moment before the year 0001 or after 9999, which the text form cannot say, becomes the first or last that it
    /// can: a record's time is whatever its publisher wrote there.
    public init(microseconds: Int64) {
        self.microseconds = min(max(microseconds, Self.microsecondsMin), Self.microsecondsMax)
    }
    public init(milliseconds: Int64) { self.init(microseconds: milliseconds.multipliedSaturating(by: 1000)) }
    public init(seconds: Int64) { self.init(microseconds: seconds.multipliedSaturating(by: 1_000_000)) }

    public static let distantPast = Timestamp(microseconds: 0)
    /// The last moment that the text form can say: the end of the year 9999.
    public static let distantFuture = Timestamp(microseconds: microsecondsMax)

    /// 0001-01-01T00:00:00Z.
    static let microsecondsMin: Int64 = -62_135_596_800_000_000
    /// 9999-12-31T23:59:59.999999Z.
    static let microsecondsMax: Int64 = 253_402_300_799_999_999

    public func adding(seconds: Int64) -> Timestamp { adding(seconds.multipliedSaturating(by: 1_000_000)) }
    public func adding(milliseconds: Int64) -> Timestamp { adding(milliseconds.multipliedSaturating(by: 1000)) }

    private func adding(_ more: Int64) -> Timestamp {
        let (sum, overflow) = microseconds.addingReportingOverflow(more)
        return Timestamp(microseconds: overflow ? (more < 0 ? .min : .max) : sum)
    }

    public static func - (left: Timestamp, right: Timestamp) -> Duration {
        .microseconds(left.microseconds - right.microseconds)
    }

    public static func < (left: Timestamp, right: Timestamp) -> Bool { left.microseconds < right.microseconds }
}

extension Timestamp: LosslessStringConvertible {
    /// Reads RFC 3339 with `Z` or an offset, a fraction of up to nine digits (cut to microseconds), a moment of the
    /// years 0001 to 9999. Leap seconds are refused: no clock here counts them.
    public init?(_ text: String) {
        var reader = TimestampReader(bytes: Array(text.utf8))
        guard let microseconds = reader.read(),
            (Self.microsecondsMin...Self.microsecondsMax).contains(microseconds)
        else { return nil }
        self.microseconds = microseconds
    }

    public var description: String { String(decoding: textBytes, as: UTF8.self) }

    /// `2026-11-27T12:00:00Z`, with three or six digits of a fraction where there is one.
    public var textBytes: [UInt8] {
        let (seconds, fraction) = microseconds.quotientAndRemainderFloored(by: 1_000_000)
        let (days, secondOfDay) = seconds.quotientAndRemainderFloored(by: 86_400)
        let date = CivilDate(daysSince1970: days)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(27)
        bytes.append(digits: date.year, count: 4)
        bytes.append(UInt8(ascii: "-"))
        bytes.append(digits: date.month, count: 2)
        bytes.append(UInt8(ascii: "-"))
        bytes.append(digits: date.day, count: 2)
        bytes.append(UInt8(ascii: "T"))
        bytes.append(digits: secondOfDay / 3600, count: 2)
        bytes.append(UInt8(ascii: ":"))
        bytes.append(digits: secondOfDay / 60 % 60, count: 2)
        bytes.append(UInt8(ascii: ":"))
        bytes.append(digits: secondOfDay % 60, count: 2)
        if fraction != 0 {
            bytes.append(UInt8(ascii: "."))
            let wholeMilliseconds = fraction % 1000 == 0
            bytes.append(digits: wholeMilliseconds ? fraction / 1000 : fraction, count: wholeMilliseconds ? 3 : 6)
        }
        bytes.append(UInt8(ascii: "Z"))
        return bytes
    }
}

extension Timestamp: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let value = Timestamp(try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "expected an RFC 3339 time")
        }
        self = value
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}

extension Timestamp: JSONCodable {
    public static let codec = Codec<Timestamp>(
        .time, expected: expectation,
        read: { (value) throws(JSONError) in
            guard let time = value.stringValue.flatMap(Timestamp.init) else {
                throw JSONError(path: "", expected: expectation)
            }
            return time
        }, write: { $0.write(to: &$1) })

    private static let expectation = "an RFC 3339 time such as 2026-11-27T12:00:00Z"
}

extension Timestamp: JSONWritable {
    public func write(to writer: inout JSONWriter) { writer.value(plain: textBytes) }
}

extension JSONValue {
    public func timestamp(_ name: StaticString) throws(JSONError) -> Timestamp {
        try read(name, as: Timestamp.codec)
    }
}

/// A day of the Gregorian calendar, by the algorithm of Howard Hinnant's "chrono-compatible low-level date algorithms".
struct CivilDate {
    let year: Int64
    let month: Int64
    let day: Int64

    init(daysSince1970 days: Int64) {
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    }

    static func daysSince1970(year: Int64, month: Int64, day: Int64) -> Int64 {
        let shiftedYear = month <= 2 ? year - 1 : year
        let era = (shiftedYear >= 0 ? shiftedYear : shiftedYear - 399) / 400
        let yearOfEra = shiftedYear - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }

    static func daysIn(month: Int64, year: Int64) -> Int64 {
        switch month {
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }
}

private struct TimestampReader {
    let bytes: [UInt8]
    var position = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    mutating func read() -> Int64? {
        guard let year = number(4), literal("-"), let month = number(2), literal("-"), let day = number(2),
            literal("T") || literal("t") || literal(" "),
            let hour = number(2), literal(":"), let minute = number(2), literal(":"), let second = number(2),
            (1...12).contains(month), day >= 1, day <= CivilDate.daysIn(month: month, year: year),
            hour < 24, minute < 60, second < 60,
            let fraction = fraction(), let offsetSeconds = offset(), position == bytes.count
        else { return nil }
        let days = CivilDate.daysSince1970(year: year, month: month, day: day)
        return (days * 86_400 + hour * 3600 + minute * 60 + second - offsetSeconds) * 1_000_000 + fraction
    }

    private mutating func number(_ count: Int) -> Int64? {
        guard position + count <= bytes.count else { return nil }
        var value: Int64 = 0
        for byte in bytes[position..<position + count] {
            guard byte >= 48, byte <= 57 else { return nil }
            value = value * 10 + Int64(byte - 48)
        }
        position += count
        return value
    }

    private mutating func literal(_ character: Character) -> Bool {
        guard position < bytes.count, bytes[position] == character.asciiValue else { return false }
        position += 1
        return true
    }

    private mutating func fraction() -> Int64? {
        guard literal(".") else { return 0 }
        var value: Int64 = 0
        var count = 0
        while position < bytes.count, bytes[position] >= 48, bytes[position] <= 57, count < 9 {
            if count < 6 { value = value * 10 + Int64(bytes[position] - 48) }
            count += 1
            position += 1
        }
        guard count > 0 else { return nil }
        for _ in min(count, 6)..<6 { value *= 10 }
        return value
    }

    private mutating func offset() -> Int64? {
        if literal("Z") || literal("z") { return 0 }
        let sign: Int64
        if literal("+") { sign = 1 } else if literal("-") { sign = -1 } else { return nil }
        guard let hours = number(2), literal(":"), let minutes = number(2), hours < 24, minutes < 60 else { return nil }
        return sign * (hours * 3600 + minutes * 60)
    }
}

extension Int64 {
    fileprivate func multipliedSaturating(by factor: Int64) -> Int64 {
        let (product, overflow) = multipliedReportingOverflow(by: factor)
        return overflow ? (self < 0 ? .min : .max) : product
    }

    fileprivate func quotientAndRemainderFloored(by divisor: Int64) -> (Int64, Int64) {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
    }
}

extension [UInt8] {
    fileprivate mutating func append(digits value: Int64, count: Int) {
        var divisor: Int64 = 1
        for _ in 1..<count { divisor *= 10 }
        while divisor > 0 {
            append(48 + UInt8(truncatingIfNeeded: value / divisor % 10))
            divisor /= 10
        }
    }
}
