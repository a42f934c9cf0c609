// A log, a database, a network, a consumer group and a clock in memory, whose faults a seed decides. What the pipeline's
// machines decide is carried out here as `PartitionProcessor` and `Relay` carry it out for real.
import TestSupport

@testable import EventPipeline

/// What a seed stands for: how large its world is, and what goes wrong in it.
struct SimulationPlan {
    let seed: UInt64
    let instances: Int
    let partitions: Int
    let inputs: Int
    let commands: Int
    /// Of 1,000 requests to the database or the broker.
    let lostPerMille: Int
    let slowPerMille: Int
    let killsMax: Int
    let freezesMax: Int
    let outagesMax: Int

    init(seed: UInt64) {
        self.seed = seed
        var random = SeededRandom(seed: seed ^ 0x9e37_79b9_7f4a_7c15)
        instances = Int.random(in: 2...5, using: &random)
        partitions = Int.random(in: 1...3, using: &random)
        inputs = Int.random(in: 6...30, using: &random)
        commands = Int.random(in: 4...16, using: &random)
        lostPerMille = Bool.random(using: &random) ? Int.random(in: 0...150, using: &random) : 10
        slowPerMille = Int.random(in: 0...100, using: &random)
        killsMax = Int.random(in: 0...3, using: &random)
        freezesMax = Int.random(in: 0...3, using: &random)
        outagesMax = Int.random(in: 0...2, using: &random)
    }
}

/// A record of the input topic.
struct SimulatedInput {
    enum Kind { case good, unappliable, alwaysTransient }
    let id: Int
    let key: Int
    let kind: Kind
}

/// A record that the pipeline publishes: the `revision`th about its key.
struct SimulatedRecord: Hashable {
    enum Topic { case answers, states }
    let topic: Topic
    let key: Int
    let revision: Int
}

struct SimulatedDatabase {
    struct Row {
        let records: [SimulatedRecord]
        let committedAt: Int
    }
    struct RowKey: Hashable, Comparable {
        let stream: String
        let number: Int64
        static func < (a: RowKey, b: RowKey) -> Bool { (a.stream, a.number) < (b.stream, b.number) }
    }

    var offsets: [Int64]
    var outbox: [RowKey: Row] = [:]
    /// How often each input took effect, and how often it was put to the dead letters.
    var effects: [Int: Int] = [:]
    var dead: [Int: Int] = [:]
    /// The revision that each key has in the tables behind the two topics.
    var answerRevisions: [Int: Int] = [:]
    var stateRevisions: [Int: Int] = [:]
    /// Keys that a command's transaction holds.
    var locked: Set<Int> = []
    var lastNumber: Int64 = 0
    var lease: (holder: Int, until: Int)?

    init(partitions: Int) { offsets = Array(repeating: PipelineSchema.beginning, count: partitions) }
}

/// The log of what was published: every append, in order.
struct SimulatedLog {
    private(set) var answers: [Int: [Int]] = [:]
    private(set) var states: [Int: [Int]] = [:]
    private var ever: Set<SimulatedRecord> = []

    mutating func append(_ record: SimulatedRecord) {
        ever.insert(record)
        switch record.topic {
        case .answers: answers[record.key, default: []].append(record.revision)
        case .states: states[record.key, default: []].append(record.revision)
        }
    }

    func holds(_ record: SimulatedRecord) -> Bool { ever.contains(record) }
}
