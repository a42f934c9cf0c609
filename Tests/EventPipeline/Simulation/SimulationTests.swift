// The pipeline against everything that can go wrong, by the ten thousand: no luck, no clock, no I/O.
import Foundation
import Synchronization
import Testing

@testable import EventPipeline

@Suite struct SimulationTests {
    private static let environment = ProcessInfo.processInfo.environment

    /// `make simulate SEEDS=1000000` runs that many; `SEED=42` runs one and prints what happened.
    @Test func whateverFailsEachRecordTakesEffectOnceAndLeavesInOrder() async {
        if let seed = Self.environment["SIMULATION_SEED"].flatMap(UInt64.init) {
            let simulation = Simulation(seed: seed, isTraced: true)
            let violation = simulation.run()
            print(simulation.trace.joined(separator: "\n"))
            #expect(violation == nil, "seed \(seed)")
            return
        }
        let count = Self.environment["SIMULATION_SEEDS"].flatMap(UInt64.init) ?? 10_000
        let (violations, events) = await Self.run(0..<count)
        print("\(count) seeds, \(events) events simulated")
        for (seed, violation) in violations.prefix(20) {
            Issue.record("seed \(seed): \(violation); `make simulate SEED=\(seed)` tells what happened")
        }
        #expect(violations.count == 0)
    }

    /// A fault that the simulation must find, or it would prove nothing. The last four were faults of the pipeline once.
    struct Fault: CustomTestStringConvertible {
        let testDescription: String
        let flaws: Simulation.Flaws
        let breaks: Simulation.Promise
    }

    static let faults = [
        Fault(
            testDescription: "each instance publishes what it has committed", flaws: .publishersByInstance,
            breaks: .leavesInOrder),
        Fault(testDescription: "nobody reads back", flaws: .noReadBack, breaks: .endsWithTheLatest),
        Fault(testDescription: "numbers are taken before locks", flaws: .numberBeforeLock, breaks: .leavesInOrder),
        Fault(
            testDescription: "who lost a partition deletes what the next owner has not sent", flaws: .clearsAll,
            breaks: .losesNothing),
        Fault(
            testDescription: "who is overtaken goes on and deletes what the other has not sent",
            flaws: .forgetsWhatIsBefore, breaks: .losesNothing),
        Fault(
            testDescription: "a partition that failed once stands still", flaws: .neverBeginsAnew, breaks: .comesToRest),
        Fault(
            testDescription: "a compacted topic ends with an older state", flaws: [.publishersByInstance, .noReadBack],
            breaks: .endsWithTheLatest),
    ]

    @Test(arguments: faults) func aPromiseThatIsNotKeptIsFound(fault: Fault) {
        for seed in 0..<20_000 as Range<UInt64> {
            guard let violation = Simulation(seed: seed, flaws: fault.flaws, only: fault.breaks).run() else { continue }
            return print("\(fault.testDescription): seed \(seed) finds it: \(violation)")
        }
        Issue.record("no seed finds it")
    }

    @Test func aSeedAlwaysTellsTheSameStory() {
        for seed in 0..<20 as Range<UInt64> {
            let (one, other) = (Simulation(seed: seed, isTraced: true), Simulation(seed: seed, isTraced: true))
            #expect(one.run() == other.run())
            #expect(one.trace == other.trace)
        }
    }

    private static func run(_ seeds: Range<UInt64>) async -> (violations: [(UInt64, String)], events: Int) {
        await withTaskGroup(of: ([(UInt64, String)], Int).self) { tasks in
            let workers = UInt64(ProcessInfo.processInfo.activeProcessorCount)
            for worker in 0..<workers {
                tasks.addTask {
                    var violations: [(UInt64, String)] = []
                    var events = 0
                    for seed in stride(from: seeds.lowerBound + worker, to: seeds.upperBound, by: Int(workers)) {
                        let simulation = Simulation(seed: seed)
                        if let violation = simulation.run() { violations.append((seed, violation)) }
                        events += simulation.events
                    }
                    return (violations, events)
                }
            }
            return await tasks.reduce(into: ([], 0)) { all, part in
                all.0 = (all.0 + part.0).sorted { $0.0 < $1.0 }
                all.1 += part.1
            }
        }
    }
}
