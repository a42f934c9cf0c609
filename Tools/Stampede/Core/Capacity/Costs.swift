// What one order and one account were measured to cost.
import Foundation

/// As `make bench-costs` writes it. Keys name programs, Postgres schemas and topics.
struct Costs: Codable, Equatable, Sendable {
    struct Order: Codable, Equatable, Sendable {
        /// From noon until everybody is told, by program.
        var processorMicroseconds: [String: Double]
        /// Time that Postgres spends in statements, by schema: how its processor time is shared out.
        var statementMicroseconds: [String: Double]
        var walBytes: [String: Double]
        /// Rows and their indexes, by schema.
        var rowBytes: [String: Double]
        /// As the records lie in the log, by topic; once, without copies.
        var topicBytes: [String: Double]
    }

    struct Account: Codable, Equatable, Sendable {
        var rowBytes: [String: Double]
        var topicBytes: [String: Double]
    }

    /// How many orders were measured, for how many phones.
    var orders: Int
    var units: Int
    var order: Order
    var account: Account

    /// Decides; its schema, its process and its topic are what scales with the partitions.
    static let deciding = "reservation"
    static let database = "postgres"
    static let log = "broker"
    /// Runs where the buyers are, and is no part of what has to be there.
    static let generator = "stampede (this)"

    /// What was measured last: docs/performance.md says on what.
    static let measured: Costs = {
        do { return try Costs(json: PackageResources.costs_json) } catch {
            preconditionFailure("the costs that are part of the program cannot be read: \(error)")
        }
    }()

    init(json: [UInt8]) throws(UsageError) {
        do { self = try JSONDecoder().decode(Costs.self, from: Data(json)) } catch {
            throw UsageError("the costs cannot be read; 'make bench-costs COSTS=FILE' writes them: \(error)")
        }
        let all =
            [
                order.processorMicroseconds, order.statementMicroseconds, order.walBytes, order.rowBytes,
                order.topicBytes, account.rowBytes, account.topicBytes,
            ].flatMap(\.values) + [Double(orders), Double(units)]
        guard all.allSatisfy({ $0.isFinite && (0...1e12).contains($0) }) else {
            throw UsageError("the costs hold a number that is none: expected 0 to 10^12")
        }
    }

    /// How much of Postgres's processor time a schema takes, in microseconds an order.
    func databaseMicroseconds(of schema: String) -> Double {
        let all = order.statementMicroseconds.values.reduce(0, +)
        guard all > 0, let own = order.statementMicroseconds[schema] else { return 0 }
        return (order.processorMicroseconds[Self.database] ?? 0) * own / all
    }
}
