// W3C trace context: what ties an HTTP request, the events it caused and their handling together.
// https://www.w3.org/TR/trace-context/

/// One span of a trace. Read from a `traceparent` header, handed on as a `child()`.
public struct TraceContext: Sendable, Equatable {
    private let traceHigh: UInt64
    private let traceLow: UInt64
    private let span: UInt64
    private let flags: UInt8

    /// The trace that the current task works for, if any. Log lines carry its ID.
    @TaskLocal public static var current: TraceContext?

    /// Reads `00-<32 hex digits>-<16 hex digits>-<2 hex digits>`. Later versions are read as far as version 00 knows
    /// them, as the standard asks; anything else is nil.
    public init?(traceparent: String) {
        self.init(traceparent.utf8)
    }

    /// The same from a header's bytes.
    public init?(_ text: some Sequence<UInt8>) {
        var input = text.makeIterator()
        guard let version = Self.hex(&input, digits: 2), version != 0xFF, input.next() == Self.dash,
            let traceHigh = Self.hex(&input, digits: 16), let traceLow = Self.hex(&input, digits: 16),
            input.next() == Self.dash, let span = Self.hex(&input, digits: 16), input.next() == Self.dash,
            let flags = Self.hex(&input, digits: 2)
        else { return nil }
        if let next = input.next() {
            guard version > 0, next == Self.dash else { return nil }
        }
        guard traceHigh | traceLow != 0, span != 0 else { return nil }
        self.traceHigh = traceHigh
        self.traceLow = traceLow
        self.span = span
        self.flags = UInt8(truncatingIfNeeded: flags)
    }

    private init(traceHigh: UInt64, traceLow: UInt64, span: UInt64, flags: UInt8) {
        self.traceHigh = traceHigh
        self.traceLow = traceLow
        self.span = span
        self.flags = flags
    }

    /// A new trace, sampled.
    public static func new() -> TraceContext {
        TraceContext(
            traceHigh: .random(in: .min ... .max), traceLow: .random(in: 1 ... .max), span: .random(in: 1 ... .max),
            flags: 1)
    }

    /// The same from a generator of the caller's: a server that makes one for every request does not want to ask the
    /// system for randomness each time.
    public static func new(
        using generator: inout some RandomNumberGenerator, isSampled: Bool = true
    ) -> TraceContext {
        TraceContext(
            traceHigh: generator.next(), traceLow: generator.next() | 1, span: generator.next() | 1,
            flags: isSampled ? 1 : 0)
    }

    /// A new span of the same trace.
    public func child() -> TraceContext { child(isSampled: isSampled) }

    /// A new span of the same trace, recorded or not whatever the caller said.
    public func child(isSampled: Bool) -> TraceContext {
        TraceContext(
            traceHigh: traceHigh, traceLow: traceLow, span: .random(in: 1 ... .max),
            flags: isSampled ? flags | 1 : flags & ~1)
    }

    /// The span that follows from this one and a name's `salt`: the same whenever it is asked for, so that what is done
    /// again is the same span.
    public func child(salt: UInt64) -> TraceContext {
        var mixed = (span ^ salt) &* 0x9E37_79B9_7F4A_7C15
        mixed = (mixed ^ mixed >> 32) &* 0xD6E8_FEB8_6659_FD93
        mixed ^= mixed >> 32
        return TraceContext(traceHigh: traceHigh, traceLow: traceLow, span: mixed | 1, flags: flags)
    }

    /// A number for a name, never zero (FNV-1a).
    public static func salt(_ name: some Sequence<UInt8>) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in name { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        return hash == 0 ? 1 : hash
    }

    /// How many bytes `traceparent` has.
    public static let traceparentBytes = 55

    /// The header's value, version 00.
    public var traceparent: String {
        var text: [UInt8] = []
        text.reserveCapacity(Self.traceparentBytes)
        text.append(contentsOf: "00-".utf8)
        Self.appendHex(traceHigh, digits: 16, to: &text)
        Self.appendHex(traceLow, digits: 16, to: &text)
        text.append(Self.dash)
        Self.appendHex(span, digits: 16, to: &text)
        text.append(Self.dash)
        Self.appendHex(UInt64(flags), digits: 2, to: &text)
        return String(decoding: text, as: UTF8.self)
    }

    /// The trace's 32 hex digits.
    public var traceID: String {
        var text: [UInt8] = []
        text.reserveCapacity(32)
        Self.appendHex(traceHigh, digits: 16, to: &text)
        Self.appendHex(traceLow, digits: 16, to: &text)
        return String(decoding: text, as: UTF8.self)
    }

    /// The span's 16 hex digits.
    public var spanID: String {
        var text: [UInt8] = []
        text.reserveCapacity(16)
        Self.appendHex(span, digits: 16, to: &text)
        return String(decoding: text, as: UTF8.self)
    }

    /// Whether the caller recorded this trace.
    public var isSampled: Bool { flags & 1 == 1 }

    private static let dash = UInt8(ascii: "-")

    /// Lower case only, as the standard has it.
    private static func hex(_ input: inout some IteratorProtocol<UInt8>, digits: Int) -> UInt64? {
        var value: UInt64 = 0
        for _ in 0..<digits {
            switch input.next() {
            case .some(let digit) where digit >= UInt8(ascii: "0") && digit <= UInt8(ascii: "9"):
                value = value << 4 | UInt64(digit - UInt8(ascii: "0"))
            case .some(let digit) where digit >= UInt8(ascii: "a") && digit <= UInt8(ascii: "f"):
                value = value << 4 | UInt64(digit - UInt8(ascii: "a") + 10)
            default: return nil
            }
        }
        return value
    }

    private static func appendHex(_ value: UInt64, digits: Int, to text: inout [UInt8]) {
        for place in stride(from: (digits - 1) * 4, through: 0, by: -4) {
            let digit = UInt8(truncatingIfNeeded: value >> UInt64(place)) & 0xF
            text.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
        }
    }
}
