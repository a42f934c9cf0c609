// Following the topics, to know when each order was decided, paid and told.
import EventPipeline
import JSON
import Kafka
import Models
import Observability

/// Reads `reservations`, `payments`, `notifications` and `messages` from the moment when it is made.
struct Followers: Sendable {
    private let readers: [(topic: Topic, reader: TopicReader)]
    private let buyers: Buyers
    private let sale: SaleID
    private let brand: BrandID

    init(_ kafka: KafkaConfiguration, buyers: Buyers, sale: SaleID, brand: BrandID) async throws(KafkaError) {
        var readers: [(Topic, TopicReader)] = []
        for topic in [Topic.reservations, .payments, .notifications, .messages] {
            readers.append(
                (
                    topic,
                    try await TopicReader(
                        kafka, topic: topic.name, from: .end, log: Logger(service: "stampede-rush", level: .error),
                        metrics: Metrics())
                ))
        }
        self.readers = readers
        self.buyers = buyers
        self.sale = sale
        self.brand = brand
    }

    /// Until the task is cancelled.
    func follow(into journal: Journal) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (topic, reader) in readers {
                group.addTask {
                    let parser = JSONParser()
                    while !Task.isCancelled,
                        let batches = try await reader.next(recordsMax: 20_000, waitMilliseconds: 250)
                    {
                        var heard: [Journal.Heard] = []
                        for batch in batches {
                            for record in batch {
                                guard let fact = fact(record, topic, parser), let id = record.eventID else {
                                    continue
                                }
                                heard.append(Journal.Heard(fact, topic: topic, id: id))
                            }
                        }
                        journal.record(heard, at: WallClock.now())
                    }
                    await reader.close()
                }
            }
            try await group.waitForAll()
        }
    }

    private func fact(_ record: ConsumedRecord, _ topic: Topic, _ parser: JSONParser) -> Journal.Fact? {
        guard let type = record.eventType, let body = record.value else { return nil }
        switch topic {
        case .reservations: return reservation(record, type, body, parser)
        case .payments:
            guard buyer(record) != nil else { return nil }
            if type.elementsEqual(Types.captured) { return .captured }
            if type.elementsEqual(Types.failed) { return .paymentFailed }
            return type.elementsEqual(Types.refunded) ? .refunded : nil
        case .notifications:
            if let buyer = buyer(record) { return .notified(order: buyer, place: place(body, parser)) }
            return isOfSale(body, parser) ? .broadcast : nil
        case .messages: return message(type, body, parser)
        default: return nil
        }
    }

    private func reservation(
        _ record: ConsumedRecord, _ type: ByteView, _ body: ByteView, _ parser: JSONParser
    ) -> Journal.Fact? {
        // A million of these: the key says who, nothing of the body is needed.
        if type.elementsEqual(Types.rejected) { return buyer(record).map { .decided(order: $0, .rejected) } }
        if type.elementsEqual(Types.waitlisted) { return buyer(record).map { .decided(order: $0, .waitlisted) } }
        if type.elementsEqual(Types.reserved) {
            guard let buyer = buyer(record) else { return nil }
            let promoted = try? parser.parse(body) { (json) throws(JSONError) in try json.boolean("promoted") }
            return promoted == true ? .promoted : .decided(order: buyer, .reserved)
        }
        if type.elementsEqual(Types.confirmed) { return buyer(record).map { _ in .confirmed } }
        if type.elementsEqual(Types.released) { return buyer(record).map { _ in .released } }
        guard type.elementsEqual(Types.soldOut),
            let event = try? parser.parse(body, { (json) throws(JSONError) in try SaleSoldOut(json: json) })
        else { return nil }
        return event.saleId == sale ? .soldOut(at: event.soldOutAt) : nil
    }

    private func message(_ type: ByteView, _ body: ByteView, _ parser: JSONParser) -> Journal.Fact? {
        if type.elementsEqual(Types.messageSent) {
            let recipient = try? parser.parse(body) { (json) throws(JSONError) in
                try json.identifier("recipientId", of: AccountID.self)
            }
            return recipient.flatMap { buyers.number(of: $0) }.map { .told(order: $0) }
        }
        return type.elementsEqual(Types.posted) && isOfSale(body, parser) ? .posted : nil
    }

    private func buyer(_ record: ConsumedRecord) -> Int? {
        record.key.flatMap { AccountID(text: $0) }.flatMap { buyers.number(of: $0) }
    }

    private func place(_ body: ByteView, _ parser: JSONParser) -> OrderPlace? {
        let notification = try? parser.parse(body) { (json) throws(JSONError) in try Notification(json: json) }
        return notification?.orderPlace
    }

    private func isOfSale(_ body: ByteView, _ parser: JSONParser) -> Bool {
        let id = try? parser.parse(body) { (json) throws(JSONError) in
            try json.optionalIdentifier("saleId", of: SaleID.self)
        }
        return id == sale
    }

    private enum Types {
        static let reserved = Array(OrderReserved.type.utf8)
        static let waitlisted = Array(OrderWaitlisted.type.utf8)
        static let rejected = Array(OrderRejected.type.utf8)
        static let confirmed = Array(OrderConfirmed.type.utf8)
        static let released = Array(OrderReleased.type.utf8)
        static let soldOut = Array(SaleSoldOut.type.utf8)
        static let captured = Array(PaymentCaptured.type.utf8)
        static let failed = Array(PaymentFailed.type.utf8)
        static let refunded = Array(PaymentRefunded.type.utf8)
        static let messageSent = Array(MessageSent.type.utf8)
        static let posted = Array(BrandPosted.type.utf8)
    }
}
