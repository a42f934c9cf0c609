// A tiny service of one processor: what the tests of the pipeline kill.
import EventPipeline
import Models
import Postgres
import ServiceKit

@main
struct App {
    static func main() async { await Program.run(Probe.self) }
}

/// It bears the name of a service that may publish to the topic of its answers.
struct Probe: Service {
    static let name = "reservation"
    static let summary = "Answers orders, to be killed in the middle."
    static let configurationKeys = [
        ConfigurationKey("STAMPEDE_PROBE_BATCH", "Orders in a transaction", .integer(1...5000), default: "50")
    ]
    static let migrations = [
        PipelineSchema.migration,
        Migration(
            number: 1, name: "effects",
            sql: """
                CREATE TABLE effects (order_id uuid PRIMARY KEY, variant text NOT NULL CHECK (variant <> 'refused'),
                    applied bigserial);
                """),
        PipelineSchema.commands(number: 2),
    ]

    let features: [any Feature]

    init(_ context: ServiceContext) {
        let orders = EventProcessor(
            context, name: "orders", topic: .orders,
            batchRecordsMax: context.configuration.integer("STAMPEDE_PROBE_BATCH"), pace: .zero,
            handler: Recorder(rendersAnswers: true))
        features = [Probed(consumes: [orders])]
    }
}

private struct Probed: Feature {
    let consumes: [any Consumer]
    let publishes: [Topic] = [.reservations]
}
