/// A place in an order's life: events of it come from two topics, and from one to another in any order. The greatest says
/// what is so; what comes after a greater one changes nothing and is told nobody any more.
public struct OrderPlace: Hashable, Comparable, Sendable {
    /// See `OrderLine.orderRevision`.
    public let revision: Int
    /// A payment answers the reservation's event of the same revision, and so comes after it.
    public let isOfPayment: Bool

    public init(revision: Int, isOfPayment: Bool) {
        self.revision = revision
        self.isOfPayment = isOfPayment
    }

    /// As one number in the same order, for storage.
    public var number: Int64 { Int64(revision) * 2 + (isOfPayment ? 1 : 0) }

    public static func < (left: OrderPlace, right: OrderPlace) -> Bool { left.number < right.number }
}
