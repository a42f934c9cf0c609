// Settlement: what payments mean for the orders that hold units.
// Other features use SettlementCommands, SettlementStatements.
import EventPipeline
import Models
import ServiceKit

struct Settlement: Feature {
    let consumes: [any Consumer]
    let publishes: [Topic] = [.reservations]

    init(_ context: ServiceContext, commands: SettlementCommands) {
        consumes = [
            EventProcessor(
                context, name: "payments", topic: .payments, handler: SettlementEvents(commands: commands))
        ]
    }
}
