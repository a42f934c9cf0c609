// How a value stands in JSON, said once: what reads it, what writes it, what a schema says of it.

/// The JSON form of one kind of value.
public struct Codec<Value: Sendable>: Sendable {
    /// What a document may say of it.
    public let shape: JSONShape
    /// What an error says where the member is missing.
    let expected: String
    let read: @Sendable (JSONValue) throws(JSONError) -> Value
    let write: @Sendable (Value, inout JSONWriter) -> Void

    /// - Parameters:
    ///   - expected: what an error says where nothing stands; of what stands there `read` complains.
    public init(
        _ shape: JSONShape, expected: String, read: @escaping @Sendable (JSONValue) throws(JSONError) -> Value,
        write: @escaping @Sendable (Value, inout JSONWriter) -> Void
    ) {
        self.shape = shape
        self.expected = expected
        self.read = read
        self.write = write
    }
}

extension JSONValue {
    /// Reads a member; an error in it names the member.
    public func read<Value>(_ name: StaticString, as codec: Codec<Value>) throws(JSONError) -> Value {
        guard let value = self[name] else { throw JSONError(path: "\(name)", expected: codec.expected) }
        do throws(JSONError) { return try codec.read(value) } catch { throw error.inside("\(name)") }
    }

    /// The same; nil where the member is missing or null.
    public func readOptional<Value>(_ name: StaticString, as codec: Codec<Value>) throws(JSONError) -> Value? {
        guard let value = self[name] else { return nil }
        do throws(JSONError) { return try codec.read(value) } catch { throw error.inside("\(name)") }
    }
}

/// A value with one JSON form, which needs no mention where it is a member.
public protocol JSONCodable: Sendable {
    static var codec: Codec<Self> { get }
}

/// What JSON Schema can say of a value. Documents are held against it by tests, which make values of it as well.
public indirect enum JSONShape: Sendable, Equatable {
    case boolean
    case integer(ClosedRange<Int64>)
    /// A text that people read; its length is in Unicode's code points.
    case text(characters: ClosedRange<Int>)
    /// A text of some of ASCII's characters.
    case code(Alphabet, count: ClosedRange<Int>)
    /// A text that fits a regular expression.
    case pattern(String, countMax: Int, examples: [String])
    case choice([String])
    /// - isNilTaken: whether the UUID of all zeros is one.
    case uuid(isNilTaken: Bool)
    case time
    case array(JSONShape, countMax: Int)
    case object([Member])
    /// An object whose names are data.
    case dictionary(names: JSONShape, values: JSONShape, count: ClosedRange<Int>)

    public struct Member: Sendable, Equatable {
        public let name: String
        public let shape: JSONShape
        public let isRequired: Bool
    }
}

extension Bool: JSONCodable {
    public static let codec = Codec<Bool>(
        .boolean, expected: "true or false", read: { (value) throws(JSONError) in try value.boolean() },
        write: { $1.value($0) })
}

extension Codec where Value == Int64 {
    public static func integer(_ range: ClosedRange<Int64>) -> Codec {
        Codec(
            .integer(range), expected: JSONValue.phrase(range),
            read: { (value) throws(JSONError) in try value.integer(in: range) }, write: { $1.value($0) })
    }
}

extension Codec where Value == Int {
    public static func integer(_ range: ClosedRange<Int>) -> Codec {
        let range = Int64(range.lowerBound)...Int64(range.upperBound)
        return Codec(
            .integer(range), expected: JSONValue.phrase(range),
            read: { (value) throws(JSONError) in Int(try value.integer(in: range)) }, write: { $1.value(Int64($0)) })
    }
}

extension Codec where Value == String {
    /// A text that people read, of so many characters.
    public static func text(characters: ClosedRange<Int>) -> Codec {
        Codec(
            .text(characters: characters), expected: JSONValue.phrase(characters: characters),
            read: { (value) throws(JSONError) in try value.text(characters: characters) }, write: { $1.value($0) })
    }

    /// A key or an identifier: see `JSONValue.token`.
    public static func token(bytesMax: Int) -> Codec {
        Codec(
            .code(.visible, count: 1...bytesMax), expected: JSONValue.phrase(tokenBytesMax: bytesMax),
            read: { (value) throws(JSONError) in try value.token(bytesMax: bytesMax) }, write: { $1.value($0) })
    }
}

extension Codec {
    /// One of an enumeration's texts.
    public static func choice() -> Codec where Value: RawRepresentable<String> & CaseIterable {
        Codec(
            .choice(Value.allCases.map(\.rawValue)), expected: JSONValue.phrase(choice: Value.self),
            read: { (value) throws(JSONError) in try value.choice() }, write: { $1.value($0.rawValue) })
    }

    /// An array of at most `countMax` elements.
    public static func list<Element>(of element: Codec<Element>, countMax: Int) -> Codec where Value == [Element] {
        Codec(
            .array(element.shape, countMax: countMax), expected: "an array",
            read: { (value) throws(JSONError) in try value.elements(countMax: countMax, element.read) },
            write: { (elements, writer) in writer.array { for each in elements { element.write(each, &$0) } } })
    }
}

extension JSONCodable where Self: RawRepresentable<String> & CaseIterable {
    public static var codec: Codec<Self> { .choice() }
}
