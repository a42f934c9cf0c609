// Who reads what: the consumer groups of the five services, for lag.
import Models

enum ConsumerGroups {
    struct Reader: Sendable, Equatable {
        let group: String
        let topic: String
    }

    static let decisions = Reader(group: "reservation.orders", topic: Topic.orders.name)

    /// A test holds this list against what the services say.
    static let all: [Reader] = [
        decisions,
        Reader(group: "reservation.payments", topic: Topic.payments.name),
        Reader(group: "payment.accounts", topic: Topic.accounts.name),
        Reader(group: "payment.reservations", topic: Topic.reservations.name),
        Reader(group: "notification.accounts", topic: Topic.accounts.name),
        Reader(group: "notification.reservations", topic: Topic.reservations.name),
        Reader(group: "notification.payments", topic: Topic.payments.name),
        Reader(group: "messaging.notifications", topic: Topic.notifications.name),
        Reader(group: "messaging.decisions", topic: Topic.reservations.name),
        Reader(group: "messaging.refunds", topic: Topic.payments.name),
        Reader(group: "catalog.reservations", topic: Topic.reservations.name),
    ]

    /// Those whose work grows with the orders: all that read what comes of one.
    static var ofOrders: [Reader] {
        all.filter { $0.topic == Topic.orders.name || $0.topic == Topic.reservations.name }
    }
}
