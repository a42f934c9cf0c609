// Reads JSON (RFC 8259): validated, UTF-8 checked, without an allocation per value.
import CJSON
import Synchronization

/// A reusable parser. One document at a time: the values of a document are valid inside the closure that
/// `parse` was given, and nowhere else.
public final class JSONParser {
    /// Documents larger than this are refused.
    public static let bytesMax = 64 << 20
    /// Documents nested deeper than this are refused.
    public static let depthMax = 64

    /// A parser keeps up to nine times the size of its largest document. One that read a larger document than this
    /// gives the memory back.
    static let bytesKeptMax = 256 << 10

    private var handle: OpaquePointer

    public init() { handle = Self.makeHandle() }

    private static func makeHandle() -> OpaquePointer {
        guard let handle = stampede_json_parser_new(bytesMax, depthMax) else {
            preconditionFailure("out of memory: no room for a JSON parser of 4 KB")
        }
        return handle
    }

    deinit { stampede_json_parser_free(handle) }

    /// Parses one document and hands its root to `body`.
    ///
    /// Two members of one name in an object that `body` reads are an error, whichever it asks for: one reader would take
    /// the first, another the last. What is not read is not judged, but for its grammar.
    /// - Throws: `JSONError` when the bytes are not one JSON document, or what `body` throws.
    public func parse<Result>(
        _ bytes: some Collection<UInt8>, _ body: (JSONValue) throws(JSONError) -> Result
    ) throws(JSONError) -> Result {
        defer {
            if bytes.count > Self.bytesKeptMax {
                stampede_json_parser_free(handle)
                handle = Self.makeHandle()
            }
        }
        var root = stampede_json_element()
        let code: Int32
        if let fast = bytes.withContiguousStorageIfAvailable({
            stampede_json_parse(handle, $0.baseAddress, $0.count, &root)
        }) {
            code = fast
        } else {
            code = Array(bytes).withUnsafeBufferPointer {
                stampede_json_parse(handle, $0.baseAddress, $0.count, &root)
            }
        }
        guard code == 0 else {
            throw JSONError(path: "", expected: "a JSON document, it is \(problem(code))")
        }
        let result: Result
        do { result = try body(JSONValue(element: root)) } catch { throw repeated ?? error }
        if let repeated { throw repeated }
        return result
    }

    private var repeated: JSONError? {
        let name = stampede_json_repeated(handle)
        guard let start = name.bytes else { return nil }
        let shown = String(decoding: UnsafeRawBufferPointer(start: start, count: min(name.count, 64)), as: UTF8.self)
        return JSONError(path: shown, expected: "one member of this name")
    }

    private func problem(_ code: Int32) -> String {
        switch Int(code) {
        case STAMPEDE_JSON_NOT_UTF8: "not UTF-8 at byte \(stampede_json_position(handle))"
        case STAMPEDE_JSON_TOO_DEEP: "nested deeper than \(Self.depthMax)"
        case STAMPEDE_JSON_TOO_LARGE: "larger than \(Self.bytesMax) bytes"
        case STAMPEDE_JSON_NO_MEMORY: "larger than there is memory for"
        default: "malformed at byte \(stampede_json_position(handle))"
        }
    }

    /// Parses one document with a parser borrowed from a small pool, for callers that read one now and then.
    public static func parse<Result>(
        _ bytes: some Collection<UInt8>, _ body: (JSONValue) throws(JSONError) -> Result
    ) throws(JSONError) -> Result {
        let parser = pool.borrow()
        defer { pool.giveBack(parser) }
        return try parser.parse(bytes, body)
    }

    private static let pool = Pool()

    /// Holds idle parsers. `@unchecked Sendable`: a parser is in the list or with one borrower, never both, and the
    /// list is behind the mutex.
    private final class Pool: @unchecked Sendable {
        private static let idleMax = 16
        private let lock = Mutex(())
        private var idle: [JSONParser] = []

        func borrow() -> JSONParser {
            lock.withLock { _ in idle.popLast() } ?? JSONParser()
        }

        func giveBack(_ parser: JSONParser) {
            lock.withLock { _ in
                if idle.count < Self.idleMax { idle.append(parser) }
            }
        }
    }
}
