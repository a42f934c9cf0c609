// A piece of work that a trace passed through, as it is told to a collector.

/// Work within a trace that is over. Times are nanoseconds since 1970.
public struct Span: Sendable {
    /// The numbers of the OpenTelemetry protocol.
    public enum Kind: Int, Sendable {
        case within = 1
        case server = 2
        case producer = 4
        case consumer = 5
    }

    public enum Value: Sendable {
        case text(String)
        case number(Int64)
    }

    public let name: String
    public let kind: Kind
    public let context: TraceContext
    /// What caused it; nil where the trace begins.
    public let parent: TraceContext?
    /// Further causes, of other traces too.
    public let links: [TraceContext]
    public let start: Int64
    public let end: Int64
    public let attributes: [(name: String, value: Value)]
    /// What went wrong; nil: nothing.
    public let failure: String?

    public init(
        _ name: String, _ kind: Kind, _ context: TraceContext, parent: TraceContext?, links: [TraceContext] = [],
        start: Int64, end: Int64, attributes: [(name: String, value: Value)] = [], failure: String? = nil
    ) {
        self.name = name
        self.kind = kind
        self.context = context
        self.parent = parent
        self.links = links
        self.start = start
        self.end = max(start, end)
        self.attributes = attributes
        self.failure = failure
    }
}
