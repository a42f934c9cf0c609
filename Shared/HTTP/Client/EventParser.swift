// Reads the text of an event stream piece by piece, as WHATWG HTML, 9.2.6, has it.

struct EventParser {
    /// A line or an event longer than this breaks the stream off.
    static let eventBytesMax = 1 << 20

    private(set) var lastID: String?
    /// What the stream asked for by `retry:`.
    private(set) var retryMilliseconds: Int?
    private var line: [UInt8] = []
    private var event = ""
    private var data: [UInt8] = []
    private var hasData = false
    private var previousWasReturn = false
    private var atStart = true

    init(lastID: String? = nil) { self.lastID = lastID }

    /// The events that this piece completes. Nil: a line or an event is too long.
    mutating func parse(_ bytes: UnsafeRawBufferPointer) -> [ServerSentEvent]? {
        var events: [ServerSentEvent] = []
        for byte in bytes {
            if byte == 10, previousWasReturn {
                previousWasReturn = false
                continue
            }
            previousWasReturn = byte == 13
            guard byte == 10 || byte == 13 else {
                guard line.count < Self.eventBytesMax else { return nil }
                line.append(byte)
                continue
            }
            if atStart {
                atStart = false
                if line.starts(with: [0xEF, 0xBB, 0xBF]) { line.removeFirst(3) }
            }
            if line.isEmpty {
                if let event = dispatch() { events.append(event) }
            } else {
                take()
                guard data.count <= Self.eventBytesMax else { return nil }
            }
            line.removeAll(keepingCapacity: true)
        }
        return events
    }

    private mutating func dispatch() -> ServerSentEvent? {
        defer {
            event = ""
            data.removeAll(keepingCapacity: true)
            hasData = false
        }
        guard hasData else { return nil }
        return ServerSentEvent(
            id: lastID, event: event.isEmpty ? "message" : event, data: String(decoding: data, as: UTF8.self))
    }

    private mutating func take() {
        let colon = line.firstIndex(of: UInt8(ascii: ":")) ?? line.endIndex
        var value = line[min(colon + 1, line.endIndex)...]
        if value.first == UInt8(ascii: " ") { value.removeFirst() }
        switch String(decoding: line[..<colon], as: UTF8.self) {
        case "data":
            if hasData { data.append(10) }
            hasData = true
            data.append(contentsOf: value)
        case "event": event = String(decoding: value, as: UTF8.self)
        case "id" where !value.contains(0): lastID = String(decoding: value, as: UTF8.self)
        case "retry":
            if !value.isEmpty, value.count <= 8, value.allSatisfy({ $0 &- 48 < 10 }) {
                retryMilliseconds = Int(String(decoding: value, as: UTF8.self))
            }
        default: break  // comments and what we do not know
        }
    }
}
