// Top-ups: an operator brings money from the world outside into wallets.
import Models
import ServiceKit

struct TopUps: Feature {
    let serves: [Endpoint]

    init(_ context: ServiceContext, counters: LedgerCounters) {
        let routes = TopUpRoutes(
            commands: TopUpCommands(postgres: context.postgres, newID: { context.newID() }, counters: counters))
        serves = [
            Endpoint(
                .post, "/v1/operator/topups", for: .operators, bodyBytesMax: TopUpRoutes.bodyBytesMax, routes.topUp
            ).uncached
        ]
    }
}
