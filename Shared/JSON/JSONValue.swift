// A value of a parsed document, read by name and checked as it is read.
import CJSON

/// A view of one JSON value. Valid only inside the closure of the `parse` that made it; it must not escape.
public struct JSONValue {
    let element: stampede_json_element

    /// What kind of value this is.
    public var kind: Kind {
        switch UInt8(bitPattern: stampede_json_type(element)) {
        case UInt8(ascii: "{"): .object
        case UInt8(ascii: "["): .array
        case UInt8(ascii: "\""): .string
        case UInt8(ascii: "0"): integerValue == nil ? .number : .integer
        case UInt8(ascii: "t"), UInt8(ascii: "f"): .boolean
        default: .null
        }
    }

    /// An `integer` is a number without a fraction that 64 bits hold, however it is written: `1`, `1.0`, `1e0`.
    public enum Kind: Sendable, Equatable { case object, array, string, integer, number, boolean, null }

    // MARK: Members of an object

    /// The member of that name, nil where there is none or it is null.
    public subscript(_ name: StaticString) -> JSONValue? {
        var value = stampede_json_element()
        let found = name.withUTF8Buffer { utf8 in
            utf8.withMemoryRebound(to: CChar.self) {
                stampede_json_get(element, $0.baseAddress, $0.count, &value)
            }
        }
        guard found == 1 else { return nil }
        let member = JSONValue(element: value)
        return stampede_json_type(value) == CChar(bitPattern: UInt8(ascii: "n")) ? nil : member
    }

    /// The member of that name.
    public func member(
        _ name: StaticString, expected: @autoclosure () -> String = "a value"
    ) throws(JSONError) -> JSONValue {
        guard let value = self[name] else { throw JSONError(path: "\(name)", expected: expected()) }
        return value
    }

    /// Reads a member with the given reader; an error in it names the member.
    /// - Parameter expected: what the error says where there is none.
    public func read<T>(
        _ name: StaticString, expected: @autoclosure () -> String = "a value",
        _ reader: (JSONValue) throws(JSONError) -> T
    ) throws(JSONError) -> T {
        guard let value = try readOptional(name, reader) else {
            throw JSONError(path: "\(name)", expected: expected())
        }
        return value
    }

    public func readOptional<T>(
        _ name: StaticString, _ reader: (JSONValue) throws(JSONError) -> T
    ) throws(JSONError) -> T? {
        guard let value = self[name] else { return nil }
        do { return try reader(value) } catch { throw error.inside("\(name)") }
    }

    /// A text that people read, of 1 to `charactersMax` characters, which are counted as JSON Schema does: Unicode's code
    /// points.
    public func string(_ name: StaticString, charactersMax: Int = 4096) throws(JSONError) -> String {
        let range = 1...charactersMax
        return try read(name, expected: Self.phrase(characters: range)) { (value) throws(JSONError) in
            try value.text(characters: range)
        }
    }

    /// A string of 1 to `bytesMax` bytes of UTF-8.
    public func string(_ name: StaticString, bytesMax: Int) throws(JSONError) -> String {
        let expected = { "a string of 1 to \(bytesMax) bytes" }
        return try read(name, expected: expected()) { (value) throws(JSONError) in
            let text = try value.string()
            guard (1...bytesMax).contains(text.utf8.count) else { throw JSONError(path: "", expected: expected()) }
            return text
        }
    }

    /// See `token(bytesMax:)`.
    public func token(_ name: StaticString, bytesMax: Int) throws(JSONError) -> String {
        try read(name, expected: Self.phrase(tokenBytesMax: bytesMax)) { (value) throws(JSONError) in
            try value.token(bytesMax: bytesMax)
        }
    }

    /// A text that may be empty.
    public func text(_ name: StaticString, charactersMax: Int = 4096) throws(JSONError) -> String {
        let range = 0...charactersMax
        return try read(name, expected: Self.phrase(characters: range)) { (value) throws(JSONError) in
            try value.text(characters: range)
        }
    }

    public func optionalString(_ name: StaticString, charactersMax: Int = 4096) throws(JSONError) -> String? {
        try readOptional(name) { (value) throws(JSONError) in try value.text(characters: 0...charactersMax) }
    }

    /// An integer, however it is written: `1`, `1.0`, `1e0`.
    public func integer(
        _ name: StaticString, in range: ClosedRange<Int64> = Int64.min...Int64.max
    ) throws(JSONError) -> Int64 {
        try read(name, expected: Self.phrase(range)) { (value) throws(JSONError) in try value.integer(in: range) }
    }

    public func optionalInteger(
        _ name: StaticString, in range: ClosedRange<Int64> = Int64.min...Int64.max
    ) throws(JSONError) -> Int64? {
        try readOptional(name) { (value) throws(JSONError) in try value.integer(in: range) }
    }

    public func boolean(_ name: StaticString) throws(JSONError) -> Bool {
        try read(name, expected: "true or false") { (value) throws(JSONError) in try value.boolean() }
    }

    /// 128 bits written as a UUID (RFC 9562): high and low half.
    public func uuid(_ name: StaticString) throws(JSONError) -> (UInt64, UInt64) {
        try read(name, expected: "a UUID") { (value) throws(JSONError) in try value.uuid() }
    }

    public func optionalUUID(_ name: StaticString) throws(JSONError) -> (UInt64, UInt64)? {
        try readOptional(name) { (value) throws(JSONError) in try value.uuid() }
    }

    /// A string that is one of an enumeration's.
    public func choice<Choice: RawRepresentable<String> & CaseIterable>(
        _ name: StaticString, of type: Choice.Type = Choice.self
    ) throws(JSONError) -> Choice {
        try read(name, expected: Self.phrase(choice: type)) { (value) throws(JSONError) in try value.choice() }
    }

    /// Reads each element of a member array of at most `countMax` elements.
    public func list<T>(
        _ name: StaticString, countMax: Int, _ reader: (JSONValue) throws(JSONError) -> T
    ) throws(JSONError) -> [T] {
        let value = try member(name, expected: "an array")
        do { return try value.elements(countMax: countMax, reader) } catch { throw error.inside("\(name)") }
    }

    public func optionalList<T>(
        _ name: StaticString, countMax: Int, _ reader: (JSONValue) throws(JSONError) -> T
    ) throws(JSONError) -> [T]? {
        try readOptional(name) { (value) throws(JSONError) in try value.elements(countMax: countMax, reader) }
    }

    // MARK: The value itself

    /// A text of so many of Unicode's code points.
    public func text(characters range: ClosedRange<Int>) throws(JSONError) -> String {
        let text = try string()
        guard text.hasCharacters(atMost: range.upperBound) else {
            throw JSONError(path: "", expected: Self.phrase(characters: 0...range.upperBound))
        }
        guard text.unicodeScalars.prefix(range.lowerBound).count == range.lowerBound else {
            throw JSONError(path: "", expected: Self.phrase(characters: range))
        }
        return text
    }

    /// A key or an identifier: 1 to `bytesMax` visible characters of ASCII. Two of them are equal where their bytes are;
    /// of other texts Swift calls some equal that Postgres, Kafka and other programs tell apart.
    public func token(bytesMax: Int) throws(JSONError) -> String {
        let text = try string()
        guard (1...bytesMax).contains(text.utf8.count), Alphabet.visible.spells(text.utf8) else {
            throw JSONError(path: "", expected: Self.phrase(tokenBytesMax: bytesMax))
        }
        return text
    }

    public func integer(in range: ClosedRange<Int64>) throws(JSONError) -> Int64 {
        guard let number = integerValue, range.contains(number) else {
            throw JSONError(path: "", expected: Self.phrase(range))
        }
        return number
    }

    public func boolean() throws(JSONError) -> Bool {
        guard let flag = booleanValue else { throw JSONError(path: "", expected: "true or false") }
        return flag
    }

    /// A UUID's high and low half.
    public func uuid() throws(JSONError) -> (UInt64, UInt64) {
        guard let halves = uuidHalves else { throw JSONError(path: "", expected: "a UUID") }
        return halves
    }

    public func choice<Choice: RawRepresentable<String> & CaseIterable>() throws(JSONError) -> Choice {
        guard let choice = stringValue.flatMap(Choice.init(rawValue:)) else {
            throw JSONError(path: "", expected: Self.phrase(choice: Choice.self))
        }
        return choice
    }

    public func elements<T>(
        countMax: Int, _ reader: (JSONValue) throws(JSONError) -> T
    ) throws(JSONError) -> [T] {
        let count = stampede_json_count(element)
        guard kind == .array, count <= countMax else {
            throw JSONError(path: "", expected: "an array of at most \(countMax) elements")
        }
        let children = [stampede_json_element](unsafeUninitializedCapacity: count) { buffer, initialized in
            initialized = stampede_json_elements(element, buffer.baseAddress, count)
        }
        var result: [T] = []
        result.reserveCapacity(count)
        for (index, child) in children.enumerated() {
            do { result.append(try reader(JSONValue(element: child))) } catch { throw error.inside("[\(index)]") }
        }
        return result
    }

    /// The members of an object, in their order.
    public func members<T>(
        countMax: Int, _ reader: (String, JSONValue) throws(JSONError) -> T
    ) throws(JSONError) -> [T] {
        let count = stampede_json_count(element)
        guard kind == .object, count <= countMax else {
            throw JSONError(path: "", expected: "an object of at most \(countMax) members")
        }
        let members = [stampede_json_member](unsafeUninitializedCapacity: count) { buffer, initialized in
            initialized = stampede_json_members(element, buffer.baseAddress, count)
        }
        var result: [T] = []
        result.reserveCapacity(count)
        for member in members {
            guard let name = JSONValue(element: member.name).stringValue else {
                throw JSONError(path: "", expected: "names of whole characters without U+0000")
            }
            do { result.append(try reader(name, JSONValue(element: member.value))) } catch { throw error.inside(name) }
        }
        return result
    }

    /// Refuses members whose names are not in the list: for documents in which a misspelt name would change the meaning.
    public func onlyMembers(_ names: [String]) throws(JSONError) {
        _ = try members(countMax: 64) { (name, _) throws(JSONError) in
            guard names.contains(name) else {
                throw JSONError(path: "", expected: "no such member; known are \(names.joined(separator: ", "))")
            }
        }
    }

    /// The text, nil where this is no string, or holds half a surrogate pair, which is no character, or U+0000, which
    /// Postgres cannot keep.
    public var stringValue: String? {
        bytes.map { String(decoding: $0, as: UTF8.self) }
    }

    public var booleanValue: Bool? {
        kind == .boolean ? stampede_json_type(element) == CChar(bitPattern: UInt8(ascii: "t")) : nil
    }

    /// The number, nil where this is none, has a fraction or does not fit.
    public var integerValue: Int64? {
        var number: Int64 = 0
        return stampede_json_integer(element, &number) == 1 ? number : nil
    }

    public var uuidHalves: (UInt64, UInt64)? { bytes.flatMap { UUIDText.parse($0) } }

    private var bytes: UnsafeRawBufferPointer? {
        let text = stampede_json_string(element)
        return text.bytes.map { UnsafeRawBufferPointer(start: $0, count: text.count) }
    }

    private func string() throws(JSONError) -> String {
        guard let text = stringValue else {
            throw JSONError(
                path: "", expected: kind == .string ? "a string of whole characters without U+0000" : "a string")
        }
        return text
    }

    // MARK: What is expected

    static func phrase(characters range: ClosedRange<Int>) -> String {
        let least = range.lowerBound == 0 ? "at most" : "\(range.lowerBound) to"
        return "a string of \(least) \(range.upperBound) characters"
    }

    static func phrase(tokenBytesMax bytesMax: Int) -> String {
        "a string of 1 to \(bytesMax) visible characters of ASCII"
    }

    static func phrase(choice: (some RawRepresentable<String> & CaseIterable).Type) -> String {
        "one of \(choice.allCases.map(\.rawValue).joined(separator: ", "))"
    }

    static func phrase(_ range: ClosedRange<Int64>) -> String {
        switch (range.lowerBound, range.upperBound) {
        case (Int64.min, Int64.max): "an integer"
        case (let low, Int64.max): "an integer from \(low)"
        case (let low, let high): "an integer from \(low) to \(high)"
        }
    }
}

extension String {
    /// Whether the text has at most so many of Unicode's code points, which is what JSON Schema and Postgres count.
    public func hasCharacters(atMost countMax: Int) -> Bool {
        utf8.count <= countMax || unicodeScalars.count <= countMax
    }
}
