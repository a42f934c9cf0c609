// Who reads what: the consumer groups of the five services, and the tables that they keep, for lag and for rights.
import Models

enum ConsumerGroups {
    struct Reader: Sendable, Equatable {
        let group: String
        let topic: String

        var service: String { String(group.prefix { $0 != "." }) }
    }

    /// A compacted topic that a service reads without a group.
    struct Table: Sendable, Equatable {
        let service: String
        let topic: String
    }

    /// A test holds these, with the groups and what each service owns, against the topics that the services name.
    static let tables: [Table] = [
        Table(service: "messaging", topic: Topic.keys.name),
        Table(service: "messaging", topic: Topic.sales.name),
        Table(service: "messaging", topic: Topic.products.name),
        Table(service: "catalog", topic: Topic.keys.name),
        Table(service: "reservation", topic: Topic.keys.name),
        Table(service: "reservation", topic: Topic.sales.name),
        Table(service: "payment", topic: Topic.keys.name),
        Table(service: "notification", topic: Topic.products.name),
        Table(service: "notification", topic: Topic.sales.name),
    ]

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
        Reader(group: "messaging.accounts-readback", topic: Topic.accounts.name),
        Reader(group: "messaging.keys-readback", topic: Topic.keys.name),
        Reader(group: "catalog.reservations", topic: Topic.reservations.name),
        Reader(group: "catalog.sales-readback", topic: Topic.sales.name),
    ]

    /// Those whose work grows with the orders: all that read what comes of one.
    static var ofOrders: [Reader] {
        all.filter { $0.topic == Topic.orders.name || $0.topic == Topic.reservations.name }
    }
}
