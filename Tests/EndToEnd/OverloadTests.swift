// Three times what the machine can take: what is accepted is decided, the rest hears "later" at once, nothing swells.
import Foundation
import JSON
import Testing

@testable import StampedeCore

@Suite(.serialized) struct OverloadTests {
    /// Ten seconds of it; `OVERLOAD_SECONDS=60` makes it a minute.
    @Test(.enabled(if: ChaosPlan.given == nil)) func threeTimesTheCapacity() async throws {
        let seconds = ProcessInfo.processInfo.environment["OVERLOAD_SECONDS"].flatMap { Int($0) } ?? 10
        try await Stack.with(Stack.brokers.last ?? .embedded) { stack in
            let usual = try await Self.rush(stack, "--orders", "10000", "--connections", "1500")
            #expect(usual.code == 0, "\(usual.errors)")
            let capacity = try Report(usual.output).number("acceptedPerSecond") ?? 0
            try #require(capacity > 0)

            let orders = 3 * capacity * seconds
            let crowd = try await Self.rush(
                stack, "--orders", "\(orders)", "--rate", "\(3 * capacity)", "--connections", "6000", "--attempts", "1")
            let report = try Report(crowd.output)
            // Some were refused, as they have to be.
            #expect(crowd.code == 1, "\(crowd.errors)")
            let accepted = report.number("accepted") ?? 0
            let outcomes = [report.count("reserved"), report.count("waitlisted"), report.count("rejected")]
            let decided = outcomes.compactMap(\.self).reduce(0, +)
            #expect(accepted > 0 && decided == accepted && report.count("decidedTwice") == 0)
            let refused = report.refusedByStatus
            #expect(!refused.isEmpty && Set(refused.keys).isSubset(of: [429, 503]), "\(refused)")
            #expect(accepted + refused.values.reduce(0, +) == orders)
            // What a service may take is bounded by its settings, whatever comes.
            let memory = report.memoryPeakBytes.filter { Settings.Service(rawValue: $0.key) != nil }
            #expect(memory.count == Settings.Service.allCases.count)
            for (name, bytes) in memory { #expect(bytes < 512 << 20, "\(name): \(bytes >> 20) MB") }

            let after = try await Self.rush(stack, "--orders", "500", "--connections", "16")
            #expect(after.code == 0, "\(after.errors)")
            let normal = try Report(after.output)
            #expect(normal.number("refused") == 0)
            print(
                "capacity \(capacity)/s; of \(orders) orders at \(3 * capacity)/s accepted and decided \(accepted), "
                    + "(\(report.number("acceptedPerSecond") ?? 0)/s), refused \(refused), p99 "
                    + "\(report.p99("orderToRefused") ?? 0) µs; memory at most "
                    + "\((memory.values.max() ?? 0) >> 20) MB; afterwards order to decision p99 "
                    + "\(normal.p99("orderToDecision") ?? 0) µs")
            let audit = try await stack.stampede("audit", "--settle", "120", "--json")
            #expect(audit.code == 0, "\(audit.output)")
        }
    }

    private static func rush(_ stack: Stack, _ arguments: String...) async throws -> Stack.Ended {
        try await stack.run(
            "\(Stack.root)/.build/debug/stampede",
            ["rush"] + arguments + [
                "--units", "200", "--waitlist", "50", "--listeners", "0", "--timeout", "200", "--json", "--processes",
                "\(stack.folder)/run", "--environment", "\(stack.folder)/environment",
            ])
    }
}
