// What the runner gives a service to build on.
import Foundation
import Kafka
import Models
import Observability
import Postgres
import Security

/// The resources of one running service. Pool and producer connect by themselves when they are first used.
public struct ServiceContext: Sendable {
    public let serviceName: String
    /// What this process is called in logs and on the broker.
    public let instance: String
    /// The same where somebody chose it, so that it is this instance's again after a restart; else nil.
    public let lastingInstance: String?
    public let configuration: Configuration
    public let log: Logger
    public let metrics: Metrics
    public let tracer: Tracer
    public let postgres: PostgresPool
    public let kafka: KafkaConfiguration
    public let producer: KafkaProducer
    /// The clock. Where an event's time decides, it is the log's time and not this.
    public let now: @Sendable () -> Timestamp

    public init(
        serviceName: String, instance: String, lastingInstance: String? = nil, configuration: Configuration,
        log: Logger, metrics: Metrics, tracer: Tracer = .off, postgres: PostgresPool, kafka: KafkaConfiguration,
        producer: KafkaProducer, now: @escaping @Sendable () -> Timestamp = { .now() }
    ) {
        self.serviceName = serviceName
        self.instance = instance
        self.lastingInstance = lastingInstance
        self.configuration = configuration
        self.log = log
        self.metrics = metrics
        self.tracer = tracer
        self.postgres = postgres
        self.kafka = kafka
        self.producer = producer
        self.now = now
    }

    /// A new version 7 UUID of now.
    public func newID<Kind>(of kind: Kind.Type = Kind.self) -> Identifier<Kind> {
        .v7(at: now(), random: (Random.uint64(), Random.uint64()))
    }
}

extension Timestamp {
    /// The system's clock.
    public static func now() -> Timestamp {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Timestamp(microseconds: Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000)
    }
}
