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

@testable import EventPipelineProbe

struct Fixture {
    let broker: TestBroker
    let server: TestPostgres
    let database: TestDatabase

    /// On Apache Kafka the topics are there once, and one test's.
    init(_ kind: TestBroker.Kind = .embedded, server: TestPostgres? = nil) async throws {
        broker = try await TestBroker.make(kind, fresh: kind == .embedded)
        try await broker.create(
            [Topic.orders, .reservations, .sales, .payments, .notifications, .accounts].flatMap { topic in
                [topic.name, topic.deadLetters].map { TopicSpecification(name: $0, partitions: topic.partitions) }
            })
        if let server { self.server = server } else { self.server = try await TestPostgres.shared() }
        database = try await self.server.database(schemas: ["reservation"])
        try await context().postgres.migrate(schema: "reservation", Probe.migrations)
    }

    /// What a service would be given; each is an instance of its own.
    func context(_ properties: [String: String] = [:]) throws -> ServiceContext {
        let log = Logger(service: "test", level: .error)
        let metrics = Metrics()
        return ServiceContext(
            serviceName: "reservation", instance: UUID().uuidString,
            configuration: try Configuration(keys: [], environment: [:]), log: log, metrics: metrics,
            postgres: try database.pool("reservation"), kafka: broker.configuration(properties),
            producer: try KafkaProducer(broker.configuration, log: log, metrics: metrics))
    }

    func order(_ number: Int, variant: String = "mi3") -> OrderPlaced {
        OrderPlaced(
            orderId: OrderID(high: 7, low: UInt64(number)), saleId: SaleID(high: 1, low: 1), batch: 1, variant: variant,
            buyerId: AccountID(high: 3, low: UInt64(number)))
    }

    /// Publishes orders as any publisher would.
    func publish(_ orders: [OrderPlaced], on topic: Topic = .orders, _ context: ServiceContext) async throws {
        var records = RecordBatch()
        for order in orders {
            records.append(
                topic: topic.name, key: order.buyerId.textBytes, value: JSONWriter.document(order),
                headers: [("ce_type", Array(OrderPlaced.type.utf8)), ("ce_id", Array("\(order.orderId)".utf8))])
        }
        try await context.producer.send(records)
    }

    /// Everything that a topic holds now, by partition and in order.
    func records(of topic: String, _ context: ServiceContext) async throws -> [ConsumedRecord] {
        let reader = try await TopicReader(
            context.kafka, topic: topic, partitions: nil, from: .beginning, log: context.log, metrics: context.metrics)
        let ends = try await reader.watermarks().mapValues(\.high)
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
