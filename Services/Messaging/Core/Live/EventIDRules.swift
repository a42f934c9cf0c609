// The IDs of a stream's events: each says where a reader stands who was given it.

/// Walks from one position to a later one along the changes between them. An event's ID never includes a transaction
/// that was not given out as a whole, so who comes back with it may hear a change again and never misses one.
struct EventIDs {
    private let old: StreamPosition
    private let new: StreamPosition
    private var text: String

    init(from old: StreamPosition, to new: StreamPosition) {
        self.old = old
        self.new = new
        text = old.description
    }

    /// - Parameters:
    ///   - transaction: the one that wrote the change.
    ///   - next: that of the change that follows, as far as it is known.
    ///   - isLast: it is known that none follows.
    mutating func id(of transaction: UInt64, before next: UInt64?, isLast: Bool) -> String {
        if let next {
            if next != transaction { text = old.advanced(through: transaction, towards: new).description }
        } else if isLast {
            text = new.description
        }
        return text
    }
}
