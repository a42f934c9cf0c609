// What a noon takes: arithmetic on measured costs, and the document that shows it.
import Foundation
import JSON
import Testing

@testable import StampedeCore

@Suite struct CapacityTests {
    private func costs(_ change: (inout Costs) -> Void = { _ in }) throws -> Costs {
        var costs = try Costs(
            json: Array(
                """
                {"orders": 1000, "units": 100, "order": {
                    "processorMicroseconds": {"messaging": 200, "reservation": 100, "postgres": 300, "broker": 50,
                        "stampede (this)": 900},
                    "statementMicroseconds": {"messaging": 40, "reservation": 20},
                    "walBytes": {"messaging": 2000, "reservation": 500}, "rowBytes": {"messaging": 300},
                    "topicBytes": {"orders": 500, "reservations": 100}},
                 "account": {"rowBytes": {"messaging": 1000}, "topicBytes": {"accounts": 80}}}
                """.utf8))
        change(&costs)
        return costs
    }

    private func demand(orders: Int = 600_000, minutes: Int = 1) -> CapacityDemand {
        CapacityDemand(
            orders: orders, minutes: minutes, accounts: 1_000_000, connected: 30_001, processors: 4, busyPercent: 50,
            copies: 3)
    }

    @Test func whatIsMeasuredIsMultipliedByTheRate() throws {
        let plan = CapacityPlan(demand(), try costs())
        // 10,000 orders a second.
        #expect(plan.programs.map(\.name) == ["messaging", "reservation"])
        #expect(plan.programs.map(\.processors) == [2, 1])
        #expect(plan.programs.map(\.instances) == [1, 1])
        #expect(plan.schemas.map(\.processors) == [2, 1])
        #expect(plan.schemas.map(\.walBytesPerSecond) == [20e6, 5e6])
        #expect(plan.schemas[0].accountBytes == 1e9 && plan.schemas[0].orderBytes == 180e6)
        #expect(plan.topics.map(\.name) == ["orders", "reservations", "accounts"])
        #expect(plan.topics.map(\.bytesPerSecond) == [5e6, 1e6, 0])
        #expect(plan.topics.map(\.bytesKept) == [900e6, 180e6, 240e6])
        #expect(plan.streamInstances == 3)
    }

    @Test func twiceTheOrdersInTwiceTheTimeTakeTheSameMachines() throws {
        let (one, two) = (
            CapacityPlan(demand(), try costs()), CapacityPlan(demand(orders: 1_200_000, minutes: 2), try costs())
        )
        #expect(one.programs.map(\.processors) == two.programs.map(\.processors))
        #expect((one.partitions, one.brokers, one.servers) == (two.partitions, two.brokers, two.servers))
        #expect(two.schemas[0].orderBytes == 2 * one.schemas[0].orderBytes)
    }

    /// Two processors of four may be busy: three are too many for one server.
    @Test func whoTakesMostLeavesTheSharedServerFirst() throws {
        let plan = CapacityPlan(demand(), try costs())
        #expect(plan.schemas.map(\.name) == ["messaging", "reservation"])
        #expect(plan.schemas.map(\.servers) == [1, 0])
        #expect(plan.servers == 2)
        let small = CapacityPlan(demand(orders: 60_000), try costs())
        #expect(small.schemas.map(\.servers) == [0, 0])
        #expect(small.servers == 1)
        let large = CapacityPlan(demand(orders: 6_000_000), try costs())
        #expect(large.schemas.map(\.servers) == [10, 5])
        // The log alone would need more than one as well.
        let writing = CapacityPlan(demand(), try costs { $0.order.walBytes["messaging"] = 50_000 })
        #expect(writing.schemas[0].servers == 3)
    }

    @Test func partitionsAreEnoughForTheRateAndForTheInstances() throws {
        #expect(CapacityPlan(demand(), try costs()).partitions == 12)
        #expect(CapacityPlan(demand(orders: 60_000_000), try costs()).partitions == 100)
        let dear = try costs { $0.order.processorMicroseconds["reservation"] = 4000 }
        #expect(CapacityPlan(demand(), dear).partitions == 20)
        #expect(CapacityPlan(demand(orders: 1), try costs()).brokers == 3)
    }

    @Test(arguments: ["", "{}", "[]", #"{"orders": 1e400}"#]) func costsThatAreNoneAreRefused(text: String) {
        #expect(throws: UsageError.self) { try Costs(json: Array(text.utf8)) }
    }

    @Test func aNumberThatIsNoneIsRefused() throws {
        let text = try String(
            decoding: JSONEncoder().encode(costs { $0.order.walBytes["messaging"] = -1 }), as: UTF8.self)
        #expect(throws: UsageError.self) { try Costs(json: Array(text.utf8)) }
    }

    private func run(_ words: [String]) async -> (code: ExitCode, output: String) {
        let printed = Printed()
        let code = await StampedeTool.run(
            words, environment: [:], console: Console(out: { printed.out.add($0) }, err: { printed.err.add($0) }))
        return (code, printed.out.text)
    }

    /// Every command that the document shows prints what the document says.
    @Test func theDocumentShowsWhatTheCommandPrints() async throws {
        let text = try String(contentsOfFile: "\(Self.root)/docs/scale.md", encoding: .utf8)
        let blocks = text.components(separatedBy: "```").filter { $0.hasPrefix("\n$ stampede capacity ") }
        #expect(!blocks.isEmpty)
        for block in blocks {
            let lines = block.trimmingCharacters(in: .newlines).split(separator: "\n", omittingEmptySubsequences: false)
            let words = lines[0].split(separator: " ").dropFirst(2).map(String.init)
            let ran = await run(words)
            #expect(ran.code == .success)
            #expect(
                lines.dropFirst().joined(separator: "\n") == ran.output.trimmingCharacters(in: .newlines), "\(lines[0])"
            )
        }
    }

    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().path

    @Test func asJSONItIsTheSame() async throws {
        let ran = await run(["capacity", "--orders", "10000000", "--minutes", "1", "--json"])
        let object = try JSONSerialization.jsonObject(with: Data(ran.output.utf8)) as? [String: Any]
        #expect(object?["ordersPerSecond"] as? Int == 166_667)
        #expect((object?["programs"] as? [Any])?.isEmpty == false)
    }
}
