// How long a service keeps what is over, where others rely on it.

public enum Retention {
    /// An order that got nothing or has ended, and that somebody was told of it. What was sold stays.
    public static let endedOrderDays: Int64 = 90
}
