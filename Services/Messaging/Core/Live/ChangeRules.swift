// Changes that readers hear of: their order, and how pages of several kinds become one.
import Models

/// The order in which changes are given out: by transaction, then by ID.
struct ChangePlace: Hashable, Comparable, Sendable {
    let transaction: UInt64
    let id: MessageID

    static let start = ChangePlace(transaction: 0, id: MessageID(high: 0, low: 0))

    static func < (left: ChangePlace, right: ChangePlace) -> Bool {
        (left.transaction, left.id) < (right.transaction, right.id)
    }
}

/// That something changed, and for whom: enough to see whether it must be read.
struct ChangeKey: Hashable, Sendable {
    enum Kind: CaseIterable, Sendable { case message, post, order }

    let kind: Kind
    let place: ChangePlace
    /// Whom it concerns; nil where that is to be asked.
    let audience: [AccountID]?
}

/// One thing that a reader hears of.
struct StreamChange: Sendable {
    enum Subject: Sendable {
        case message(MessageSent)
        case post(BrandPosted)
        case order(StoredOrder)
    }

    let key: ChangeKey
    let subject: Subject
}

/// Keys up to a place, complete.
struct ChangePage: Sendable {
    var keys: [ChangeKey]
    /// Where to go on; nil when this is all.
    var next: ChangePlace?

    /// Puts together what was found of several kinds, `limit` of each at the most. A kind that came full may have more
    /// behind its last: nothing beyond that place is complete, so it is left for the next page.
    init(_ kinds: [[ChangeKey]], limit: Int) {
        let horizon = kinds.compactMap { $0.count < limit ? nil : $0.last?.place }.min()
        keys = kinds.joined().sorted { $0.place < $1.place }
        if let horizon { keys.removeAll { horizon < $0.place } }
        next = horizon
    }
}
