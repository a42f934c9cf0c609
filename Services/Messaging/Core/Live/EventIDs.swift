// The IDs of a stream's events: each says where a reader stands who was given it.
import Models

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
    ///   - next: the change that follows on the same page.
    ///   - isLastPage: nothing follows behind this page.
    mutating func id(of change: StreamChange, before next: StreamChange?, isLastPage: Bool) -> String {
        if let next {
            if next.transaction != change.transaction {
                text = old.advanced(through: change.transaction, towards: new).description
            }
        } else if isLastPage {
            text = new.description
        }
        return text
    }
}
