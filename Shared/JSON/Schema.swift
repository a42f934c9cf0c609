// An object's members, said once: its reader, its writer and what a document says of it are made of them.

/// A value whose JSON form is an object of known members.
public protocol JSONObject: JSONCodable, JSONWritable {
    static var schema: Schema<Self> { get }

    init(json: JSONValue) throws(JSONError)
}

extension JSONObject {
    public static var codec: Codec<Self> { schema.codec }

    public init(json: JSONValue) throws(JSONError) { self = try Self.schema.read(json) }

    public func write(to writer: inout JSONWriter) { Self.schema.write(self, to: &writer) }
}

/// The members of an object in the order in which they are written. Reading ignores others, so that a newer writer can add
/// some.
public struct Schema<Root: Sendable>: Sendable {
    public let members: [JSONShape.Member]
    private let readMembers: @Sendable (JSONValue) throws(JSONError) -> Root
    fileprivate let writeMembers: @Sendable (Root, inout JSONWriter) -> Void

    /// - Parameters:
    ///   - make: the initializer that takes the members in this order.
    public init<each Value>(
        _ make: @escaping @Sendable (repeat each Value) -> Root, _ field: repeat Field<Root, each Value>
    ) {
        var members: [JSONShape.Member] = []
        repeat members += (each field).members
        self.members = members
        readMembers = { (json) throws(JSONError) in make(repeat try (each field).read(json)) }
        writeMembers = { root, writer in repeat (each field).write(root, &writer) }
    }

    public func read(_ json: JSONValue) throws(JSONError) -> Root { try readMembers(json) }

    public func write(_ root: Root, to writer: inout JSONWriter) {
        writer.object { writeMembers(root, &$0) }
    }

    public var codec: Codec<Root> {
        Codec(.object(members), expected: "a value", read: readMembers, write: { [self] in write($0, to: &$1) })
    }
}

/// One member of an object, or several that stand together in a value of their own.
public struct Field<Root: Sendable, Value: Sendable>: Sendable {
    let members: [JSONShape.Member]
    let read: @Sendable (JSONValue) throws(JSONError) -> Value
    let write: @Sendable (Root, inout JSONWriter) -> Void

    /// A member that is always there.
    public init(_ name: StaticString, _ get: @escaping @Sendable (Root) -> Value, _ codec: Codec<Value>) {
        members = [JSONShape.Member(name: "\(name)", shape: codec.shape, isRequired: true)]
        read = { (json) throws(JSONError) in try json.read(name, as: codec) }
        write = { root, writer in
            writer.name(name)
            codec.write(get(root), &writer)
        }
    }

    /// A member of a type that has one form.
    public init(_ name: StaticString, _ get: @escaping @Sendable (Root) -> Value) where Value: JSONCodable {
        self.init(name, get, Value.codec)
    }

    /// A member that may be missing or null, and is left out where there is nothing.
    public init<Wrapped>(
        _ name: StaticString, _ get: @escaping @Sendable (Root) -> Wrapped?, _ codec: Codec<Wrapped>
    ) where Value == Wrapped? {
        members = [JSONShape.Member(name: "\(name)", shape: codec.shape, isRequired: false)]
        read = { (json) throws(JSONError) in try json.readOptional(name, as: codec) }
        write = { root, writer in
            guard let value = get(root) else { return }
            writer.name(name)
            codec.write(value, &writer)
        }
    }

    public init<Wrapped: JSONCodable>(_ name: StaticString, _ get: @escaping @Sendable (Root) -> Wrapped?)
    where Value == Wrapped? {
        self.init(name, get, Wrapped.codec)
    }

    /// The members of a value that stand beside the others.
    public init(membersOf get: @escaping @Sendable (Root) -> Value) where Value: JSONObject {
        let schema = Value.schema
        members = schema.members
        read = { (json) throws(JSONError) in try schema.read(json) }
        write = { root, writer in schema.writeMembers(get(root), &writer) }
    }
}
