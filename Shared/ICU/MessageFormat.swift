// A sentence in one language, with places for what it is about.
import CICU
import Synchronization

/// A pattern of ICU's MessageFormat, read once: `{count, plural, one {# day} other {# days}}`. May be used from anywhere;
/// ICU's own object is for one thread at a time, which the lock sees to.
public final class MessageFormat: Sendable {
    /// What a pattern may name.
    public struct Argument: Hashable, Sendable {
        public enum Kind: Int32, Sendable {
            case text = 0
            case number = 1
            /// Of UTC.
            case time = 2
        }

        public let name: String
        public let kind: Kind

        public init(_ name: String, _ kind: Kind) {
            self.name = name
            self.kind = kind
        }
    }

    public enum Value: Sendable {
        case text(String)
        case number(Int64)
        /// Since 1970-01-01T00:00:00Z.
        case time(milliseconds: Int64)

        fileprivate var kind: Argument.Kind {
            switch self {
            case .text: .text
            case .number: .number
            case .time: .time
            }
        }
    }

    public let arguments: [Argument]
    /// `nonisolated(unsafe)`: it is used under the lock.
    private nonisolated(unsafe) let handle: OpaquePointer
    private let lock = Mutex(())

    /// - Parameters:
    ///   - language: by BCP 47.
    ///   - arguments: the pattern names each of them and no other, and asks of none what its kind has not.
    public init(_ pattern: String, language: String, arguments: [Argument]) throws(ICUError) {
        var problem: [CChar] = Array(repeating: 0, count: 200)
        // ICU copies names and pattern.
        var names: [CChar] = []
        var offsets: [Int] = []
        for argument in arguments {
            offsets.append(names.count)
            names += argument.name.utf8CString
        }
        let opened = names.withUnsafeBufferPointer { names in
            let declared = zip(arguments, offsets).map { argument, offset in
                stampede_message_argument(
                    name: names.baseAddress.map { $0 + offset }, kind: argument.kind.rawValue)
            }
            return stampede_message_open(
                pattern, pattern.utf8.count, language, declared, declared.count, &problem, problem.count)
        }
        guard let opened else {
            let text = problem.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
            throw ICUError("\"\(pattern)\": \(String(decoding: text, as: UTF8.self))")
        }
        self.arguments = arguments
        handle = opened
    }

    deinit { stampede_message_close(handle) }

    /// - Parameter values: one for each argument, of its kind.
    public func format(_ values: [(name: String, value: Value)]) throws(ICUError) -> String {
        precondition(values.count == arguments.count, "expected \(arguments), got \(values)")
        var texts: [UInt8] = []
        let given = arguments.map { argument in
            guard let value = values.first(where: { $0.name == argument.name })?.value, value.kind == argument.kind
            else {
                preconditionFailure("expected \(argument), got \(values)")
            }
            let start = texts.count
            switch value {
            case .text(let text):
                texts.append(contentsOf: text.utf8)
                return stampede_message_value(number: 0, offset: start, count: texts.count - start)
            case .number(let number), .time(let number):
                return stampede_message_value(number: number, offset: start, count: 0)
            }
        }
        return try written(bytesExpected: texts.count + 256) { (out, capacity) in
            lock.withLock { _ in stampede_message_format(handle, given, texts, out, capacity) }
        }
    }
}
