// Positions in lists that are in the order of time.
import Models

/// A place in a list in the order of time; what has the same time is in the order of identifiers.
struct TimedPosition<ID: LosslessStringConvertible & Sendable>: LosslessStringConvertible, Sendable {
    let time: Timestamp
    let id: ID

    init(time: Timestamp, id: ID) {
        self.time = time
        self.id = id
    }

    init?(_ description: String) {
        let parts = description.split(separator: "_", maxSplits: 1)
        guard parts.count == 2, let time = Int64(parts[0]), let id = ID(String(parts[1])),
            (Timestamp.distantPast.microseconds...Timestamp.distantFuture.microseconds).contains(time)
        else { return nil }
        self.init(time: Timestamp(microseconds: time), id: id)
    }

    var description: String { "\(time.microseconds)_\(id)" }
}
