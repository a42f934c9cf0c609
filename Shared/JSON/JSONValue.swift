// A value of a parsed document, read by name and checked as it is read.
import CSimdJSON

/// A view of one JSON value. Valid only inside the closure of the `parse` that made it; it must not escape.
public struct JSONValue {
    let element: stampede_json_element

    /// What kind of value this is.
    public var kind: Kind {
        switch UInt8(bitPattern: stampede_json_type(element)) {
        case UInt8(ascii: "{"): .object
        case UInt8(ascii: "["): .array
        case UInt8(ascii: "\""): .string
        case UInt8(ascii: "l"): .integer
        case UInt8(ascii: "u"), UInt8(ascii: "d"): .number
        case UInt8(ascii: "t"), UInt8(ascii: "f"): .boolean
        default: .null
        }
    }

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

    public func string(_ name: StaticString, bytesMax: Int = 4096) throws(JSONError) -> String {
        let text = try member(name, expected: "a string of 1 to \(bytesMax) bytes").string(named: name)
        guard !text.isEmpty, text.utf8.count <= bytesMax else {
            throw JSONError(path: "\(name)", expected: "a string of 1 to \(bytesMax) bytes")
        }
        return text
    }

    /// A string that may be empty.
    public func text(_ name: StaticString, bytesMax: Int = 4096) throws(JSONError) -> String {
        guard let text = try optionalString(name, bytesMax: bytesMax) else {
            throw JSONError(path: "\(name)", expected: "a string of at most \(bytesMax) bytes")
        }
        return text
    }

    public func optionalString(_ name: StaticString, bytesMax: Int = 4096) throws(JSONError) -> String? {
        guard let value = self[name] else { return nil }
        let text = try value.string(named: name)
        guard text.utf8.count <= bytesMax else {
            throw JSONError(path: "\(name)", expected: "a string of at most \(bytesMax) bytes")
        }
        return text
    }

    public func integer(
        _ name: StaticString, in range: ClosedRange<Int64> = Int64.min...Int64.max
    ) throws(JSONError) -> Int64 {
        guard let value = self[name], value.kind == .integer else {
            throw JSONError(path: "\(name)", expected: Self.phrase(range))
        }
        let number = stampede_json_int64(value.element)
        guard range.contains(number) else { throw JSONError(path: "\(name)", expected: Self.phrase(range)) }
        return number
    }

    public func optionalInteger(
        _ name: StaticString, in range: ClosedRange<Int64> = Int64.min...Int64.max
    ) throws(JSONError) -> Int64? {
        self[name] == nil ? nil : try integer(name, in: range)
    }

    public func boolean(_ name: StaticString) throws(JSONError) -> Bool {
        guard let flag = self[name]?.booleanValue else {
            throw JSONError(path: "\(name)", expected: "true or false")
        }
        return flag
    }

    /// 128 bits written as a UUID (RFC 9562): high and low half.
    public func uuid(_ name: StaticString) throws(JSONError) -> (UInt64, UInt64) {
        guard let value = self[name], let halves = value.uuidHalves else {
            throw JSONError(path: "\(name)", expected: "a UUID")
        }
        return halves
    }

    /// Reads a member with the given reader; an error in it names the member.
    public func read<T>(
        _ name: StaticString, _ reader: (JSONValue) throws(JSONError) -> T
    ) throws(JSONError) -> T {
        let value = try member(name)
        do { return try reader(value) } catch { throw error.inside("\(name)") }
    }

    public func readOptional<T>(
        _ name: StaticString, _ reader: (JSONValue) throws(JSONError) -> T
    ) throws(JSONError) -> T? {
        self[name] == nil ? nil : try read(name, reader)
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
        self[name] == nil ? nil : try list(name, countMax: countMax, reader)
    }

    // MARK: The value itself

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
            guard let name = Self.string(member.key) else {
                throw JSONError(path: "", expected: "names without U+0000")
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

    /// The text, nil where this is no string or holds U+0000, which Postgres cannot keep.
    public var stringValue: String? {
        kind == .string ? Self.string(stampede_json_string(element)) : nil
    }

    public var booleanValue: Bool? {
        kind == .boolean ? stampede_json_type(element) == CChar(bitPattern: UInt8(ascii: "t")) : nil
    }

    public var integerValue: Int64? {
        kind == .integer ? stampede_json_int64(element) : nil
    }

    public var uuidHalves: (UInt64, UInt64)? {
        guard kind == .string else { return nil }
        let text = stampede_json_string(element)
        return UUIDText.parse(UnsafeRawBufferPointer(start: text.bytes, count: text.count))
    }

    private func string(named name: StaticString) throws(JSONError) -> String {
        guard let text = stringValue else {
            throw JSONError(path: "\(name)", expected: kind == .string ? "a string without U+0000" : "a string")
        }
        return text
    }

    private static func string(_ text: stampede_json_text) -> String? {
        let utf8 = UnsafeRawBufferPointer(start: text.bytes, count: text.count)
        return utf8.contains(0) ? nil : String(decoding: utf8, as: UTF8.self)
    }

    private static func phrase(_ range: ClosedRange<Int64>) -> String {
        switch (range.lowerBound, range.upperBound) {
        case (Int64.min, Int64.max): "an integer"
        case (let low, Int64.max): "an integer from \(low)"
        case (let low, let high): "an integer from \(low) to \(high)"
        }
    }
}
