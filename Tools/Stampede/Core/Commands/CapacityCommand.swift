// What a noon of a given size takes.
import Foundation

struct CapacityCommand: Command {
    static let description = CommandDescription(
        "capacity", "what a noon of a given size takes: instances, partitions, servers, bytes",
        options: [
            Option("orders", "N", "orders that come", default: "1300000"),
            Option("minutes", "N", "in so many minutes", default: "5"),
            Option("accounts", "N", "accounts that there are; else as many as orders"),
            Option("connected", "N", "people with an open live stream; else a tenth of the accounts"),
            Option("processors", "N", "of one machine, whatever runs on it", default: "8"),
            Option("busy", "PERCENT", "of a processor that may be used at the peak", default: "70"),
            Option("copies", "N", "of every record that Kafka keeps", default: "3"),
            Option(
                "costs", "FILE", "what 'make bench-costs COSTS=FILE' measured; else what this version was measured with"
            ),
            .json,
        ],
        details: """
            From what one order was measured to cost, times so many: nothing runs. docs/scale.md says what the figures mean,
            and what is divided by what where one server is not enough.
            """)

    private let demand: CapacityDemand
    private let costs: Costs
    private let json: Bool

    init(_ arguments: Arguments, _ settings: Settings) throws {
        let orders = try arguments.integer("orders", in: 1...1_000_000_000_000)
        let accounts = try arguments.optionalInteger("accounts", in: 0...1_000_000_000_000) ?? orders
        demand = CapacityDemand(
            orders: orders, minutes: try arguments.integer("minutes", in: 1...525_600), accounts: accounts,
            connected: try arguments.optionalInteger("connected", in: 0...1_000_000_000_000) ?? accounts / 10,
            processors: try arguments.integer("processors", in: 1...1024),
            busyPercent: try arguments.integer("busy", in: 1...100), copies: try arguments.integer("copies", in: 1...9))
        if let file = arguments["costs"] {
            guard let bytes = FileManager.default.contents(atPath: file) else {
                throw UsageError("--costs \(file): cannot be read")
            }
            costs = try Costs(json: Array(bytes))
        } else {
            costs = .measured
        }
        json = arguments.has("json")
    }

    func run(_ console: Console) async throws -> ExitCode {
        let report = CapacityReport(plan: CapacityPlan(demand, costs))
        if json { console.print(json: report.json) } else { console.print(report.text) }
        return .success
    }
}
