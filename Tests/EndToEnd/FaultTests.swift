// What breaks while buyers order: nobody is lied to, what was accepted is decided once, and the sale goes on by itself.
// `make chaos` runs all of them for a given time.
import Foundation
import TestSupport
import Testing

@testable import StampedeCore

@Suite(.serialized, .enabled(if: Stack.brokers.contains(.apache), "needs Apache Kafka: KAFKA_HOME"))
struct FaultTests {
    @Test(.enabled(if: ChaosPlan.given == nil)) func everyKindOfFaultInTheMiddleOfASale() async throws {
        try await FaultBench.with(seconds: 180, rate: 40, isImpatient: true) { bench in
            var random = SeededRandom(seed: ChaosPlan.seed)
            print("faults in the order of seed \(ChaosPlan.seed)")
            for fault in Fault.short(bench).shuffled(using: &random) {
                try await bench.suffer(fault, for: .seconds(fault.lasts.lowerBound))
            }
            try await bench.verify()
        }
    }

    /// It goes on where it was, but its partitions are another's: nothing that it still had in hand is kept.
    @Test(.enabled(if: ChaosPlan.given == nil)) func anInstanceThatWakesFromAFreezeCannotDecideWhatAnotherHasTaken()
        async throws
    {
        let two = ["RESERVATION_INSTANCES": "2"]
        try await FaultBench.with(seconds: 60, rate: 60, isImpatient: false, adding: two) { bench in
            try await bench.goesOn(since: .now)
            let assigned = { try bench.stack.log("reservation").components(separatedBy: "partitions assigned").count }
            let before = try assigned()
            let sleeper = try #require(bench.stack.processNumber("reservation"))
            try bench.stack.signal("reservation", SIGSTOP)
            // The other one has all of it when whatever was accepted since is decided.
            try await Task.sleep(for: .seconds(1))
            let meanwhile = bench.crowd.acceptedOrders
            try await bench.stack.eventually {
                meanwhile.allSatisfy { bench.decisions.time(of: $0) != nil }
            }
            try bench.stack.signal("reservation", SIGCONT)
            try await bench.goesOn(since: .now)
            // It is a member again, and takes its part.
            try await bench.stack.eventually { try assigned() > before }
            #expect(bench.stack.processNumber("reservation") == sleeper)
            try await bench.verify()
        }
    }

    @Test(.enabled(if: ChaosPlan.given != nil)) func chaos() async throws {
        let plan = try #require(ChaosPlan.given)
        print("chaos (\(plan.faults)) for \(plan.seconds) s with seed \(ChaosPlan.seed), \(ChaosPlan.instances)")
        try await FaultBench.with(seconds: plan.seconds + 120, rate: 40, isImpatient: false) { bench in
            var random = SeededRandom(seed: ChaosPlan.seed)
            let end = ContinuousClock.now + .seconds(plan.seconds)
            var bag: [Fault] = []
            while ContinuousClock.now < end {
                if bag.isEmpty { bag = plan.faults.of(bench).shuffled(using: &random) }
                let fault = bag.removeLast()
                let seconds = Double.random(in: fault.lasts, using: &random)
                let next = ContinuousClock.now + plan.faults.interval
                try await bench.suffer(fault, for: .seconds(seconds))
                try await Task.sleep(until: next)
            }
            try await bench.verify()
        }
    }
}

/// What `make chaos` was asked for.
struct ChaosPlan: Sendable {
    /// What breaks: `FAULTS`.
    enum Faults: String, CaseIterable {
        case all
        /// Programs are killed and lost, nothing else: for how long a recovery takes.
        case deaths
        /// An instance stands still for longer than its session and goes on where it was, every 20 seconds.
        case freeze

        func of(_ bench: FaultBench) -> [Fault] {
            switch self {
            case .all: Fault.all(bench)
            case .deaths: Fault.deaths(bench)
            case .freeze: Fault.freezes(bench)
            }
        }

        var interval: Duration { self == .freeze ? .seconds(20) : .zero }
    }

    let seconds: Int
    let faults: Faults

    private static let environment = ProcessInfo.processInfo.environment

    static let given = environment["CHAOS_SECONDS"].flatMap { Int($0) }.map { seconds in
        ChaosPlan(seconds: seconds, faults: environment["CHAOS_FAULTS"].flatMap(Faults.init) ?? .all)
    }

    /// How many of each service run, where `make chaos` says so: `RESERVATION_INSTANCES=3`.
    static let instances = given == nil ? [:] : environment.filter { $0.key.hasSuffix("_INSTANCES") }

    /// What the order of faults comes from: `CHAOS_SEED`, otherwise another every time.
    static let seed = environment["CHAOS_SEED"].flatMap { UInt64($0) } ?? .random(in: 1...999_999)
}
