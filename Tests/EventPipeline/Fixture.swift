// A tiny service on a real database and a broker of its own: what it applies is rows, what it answers is events.
import EventPipeline
import Foundation
import JSON
import Kafka
import Models
import Observability
import Postgres
import ServiceKit
import TestSupport

struct Fixture {
    let broker: TestBroker
    let server: TestPostgres
    let database: TestDatabase

    static let effects = Migration(
        number: 1, name: "effects",
        sql: """
            CREATE TABLE effects (order_id uuid PRIMARY KEY, variant text NOT NULL CHECK (variant <> 'refused'),
                applied bigserial);
            """)

    init(server: TestPostgres? = nil) async throws {
        broker = try await TestBroker.make(.embedded, fresh: true)
        try await broker.create(
            [Topic.orders, .reservations, .sales, .payments].flatMap { topic in
                [topic.name, topic.deadLetters].map { TopicSpecification(name: $0, partitions: topic.partitions) }
            })
        if let server { self.server = server } else { self.server = try await TestPostgres.shared() }
        database = try await self.server.database(schemas: ["reservation"])
        try await context().postgres.migrate(schema: "reservation", [PipelineSchema.migration, Self.effects])
    }

    /// What a service would be given; each is an instance of its own.
    func context() throws -> ServiceContext {
        let log = Logger(service: "test", level: .error)
        let metrics = Metrics()
        return ServiceContext(
            serviceName: "reservation", instance: UUID().uuidString,
            configuration: try Configuration(keys: [], environment: [:]), log: log, metrics: metrics,
            postgres: try database.pool("reservation"), kafka: broker.configuration,
            producer: try KafkaProducer(broker.configuration, log: log, metrics: metrics))
    }

    func order(_ number: Int, variant: String = "mi3") -> OrderPlaced {
        OrderPlaced(
            orderId: OrderID(high: 7, low: UInt64(number)), saleId: SaleID(high: 1, low: 1), batch: 1, variant: variant,
            buyerId: AccountID(high: 3, low: UInt64(number)))
    }

    /// Publishes orders as any publisher would.
    func publish(_ orders: [OrderPlaced], _ context: ServiceContext) async throws {
        var records = RecordBatch()
        for order in orders {
            records.append(
                topic: Topic.orders.name, key: order.buyerId.textBytes, value: JSONWriter.document(order),
                headers: [("ce_type", Array(OrderPlaced.type.utf8)), ("ce_id", Array("\(order.orderId)".utf8))])
        }
        try await context.producer.send(records)
    }

    /// Everything that a topic holds now, by partition and in order.
    func records(of topic: String, _ context: ServiceContext) async throws -> [ConsumedRecord] {
        let reader = try await TopicReader(
            context.kafka, topic: topic, partitions: nil, from: .beginning, log: context.log, metrics: context.metrics)
        let ends = try await reader.highWatermarks()
        var found: [ConsumedRecord] = []
        let count = Int(ends.values.reduce(0, +))
        while found.count < count, let batches = try await reader.next(recordsMax: 10_000) {
            found.append(contentsOf: batches.joined())
        }
        await reader.close()
        return found
    }

    /// Orders that were applied.
    func count(_ context: ServiceContext) async throws -> Int {
        let rows = try await context.postgres.query("SELECT count(*) FROM effects")
        return Int(try rows[0].get(0, as: Int64.self))
    }

    /// Rows that wait in the outbox.
    func owed(_ context: ServiceContext) async throws -> Int {
        let rows = try await context.postgres.query("SELECT count(*) FROM outbox")
        return Int(try rows[0].get(0, as: Int64.self))
    }

    /// Returns when the condition holds; fails after a minute.
    func until(_ what: String, _ condition: () async throws -> Bool) async throws {
        let deadline = ContinuousClock.now + .seconds(60)
        while try await !condition() {
            guard ContinuousClock.now < deadline else { throw TimedOut(what: what) }
            try await Task.sleep(for: .milliseconds(10))
        }
    }

    struct TimedOut: Error { let what: String }
}

/// Keeps each order as a row and answers it; a second application of the same order would violate the primary key.
struct Recorder: EventHandler {
    /// Answers are rendered from a recipe after the commit, or published through the step.
    var rendersAnswers = false
    var beforeCommit: @Sendable (EventBatch) async throws -> Void = { _ in }

    func apply(_ batch: EventBatch, _ step: Step) async throws {
        let orders = batch.read(step, only: [OrderPlaced.type]) { (_, json) throws(JSONError) in
            try OrderPlaced(json: json)
        }
        if orders.isEmpty { return }
        step.transaction.finish(
            """
            INSERT INTO effects (order_id, variant)
            SELECT * FROM unnest(\(orders.map(\.value.orderId)), \(orders.map(\.value.variant)))
            """)
        try await beforeCommit(batch)
        if rendersAnswers { return step.publish(rendering: [1]) }
        for order in orders {
            step.publish(
                .reservations, key: order.value.buyerId, id: "\(order.value.orderId)/waitlisted", answer(order.value))
        }
    }

    func render(_ batch: EventBatch, recipe: [UInt8], into outgoing: inout Outgoing) throws {
        for order in batch.events(of: OrderPlaced.self) {
            outgoing.publish(
                .reservations, key: order.value.buyerId, subject: order.value.orderId, "waitlisted", time: order.time,
                answer(order.value), cause: order.trace)
        }
    }

    private func answer(_ order: OrderPlaced) -> OrderWaitlisted {
        OrderWaitlisted(
            line: OrderLine(
                orderId: order.orderId, saleId: order.saleId, batch: 1, variant: order.variant, buyerId: order.buyerId,
                brandId: AccountID(high: 9, low: 9)))
    }
}
