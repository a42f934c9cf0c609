// One seed's world from its first record until nothing is left to do, and what must hold then and all the time.
import TestSupport

@testable import EventPipeline

/// Runs the machines of two to five instances against a simulated world. Single-threaded; time is an integer of
/// milliseconds that moves from one thing that happens to the next.
final class Simulation {
    /// What must hold, some of it all the time and some at the end.
    enum Promise { case takesEffectOnce, losesNothing, leavesInOrder, endsWithTheLatest, comesToRest }

    /// Parts of the world that keep a promise the pipeline relies on; a test can take one away, to see that it is missed.
    struct Flaws: OptionSet {
        let rawValue: Int
        /// Every instance publishes what it has committed itself, and nothing in the order of the others'.
        static let publishersByInstance = Flaws(rawValue: 1)
        /// Nobody compares what a compacted topic says with what the tables say.
        static let noReadBack = Flaws(rawValue: 2)
        /// A number in the outbox is taken before the key is locked.
        static let numberBeforeLock = Flaws(rawValue: 4)
        /// Where a partition clears its outbox, whatever is in it goes, not what was seen acknowledged.
        static let clearsAll = Flaws(rawValue: 8)
        /// A commit deletes whatever lies before it in the outbox, and who finds another ahead does not look what that one owes.
        static let forgetsWhatIsBefore = Flaws(rawValue: 16)
        /// A partition whose processing failed is kept, and not begun anew.
        static let neverBeginsAnew = Flaws(rawValue: 32)
    }

    let plan: SimulationPlan
    let flaws: Flaws
    private var random: SeededRandom
    private var agenda = Agenda()
    private(set) var now = 0
    private var database: SimulatedDatabase
    private var log = SimulatedLog()
    private var inputs: [[SimulatedInput]]
    private var published = 0
    private var commandsLeft: Int
    private var commandsUnderWay = 0
    private var instances: [Instance] = []
    private var owners: [Slot?]
    private var hasFaults = true
    private var databaseDownUntil = 0
    private var brokerDownUntil = 0
    private var rightsGoneUntil = 0
    /// What the database's clock is ahead of the time that passes.
    private var clockOffset = 0
    private(set) var violation: String?
    /// The only promise that is looked at; nil for all.
    private let promise: Promise?
    private(set) var events = 0
    /// What happened, told when it is asked for.
    private(set) var trace: [String] = []
    private let isTraced: Bool

    private static let sessionMilliseconds = 4000
    private static let faultsEndAt = 12_000
    private static let restAt = 240_000
    /// When publishers that do not follow one another take over what another has left.
    private static let leftBehindAfter = 2000

    init(seed: UInt64, flaws: Flaws = [], only promise: Promise? = nil, isTraced: Bool = false) {
        plan = SimulationPlan(seed: seed)
        self.flaws = flaws
        self.promise = promise
        self.isTraced = isTraced
        random = SeededRandom(seed: seed)
        database = SimulatedDatabase(partitions: plan.partitions)
        inputs = Array(repeating: [], count: plan.partitions)
        owners = Array(repeating: nil, count: plan.partitions)
        commandsLeft = plan.commands
    }

    final class Instance {
        let id: Int
        var isAlive = true
        var frozenUntil: Int?
        var awayFrom: Int?
        var isMember = true
        var outgoing: [(record: SimulatedRecord, done: (() -> Void)?)] = []
        var isSending = false
        var publisher = PublisherMachine()
        var publisherRows: [Int64: [SimulatedRecord]] = [:]
        var publisherWaits = 0
        init(_ id: Int) { self.id = id }
    }

    final class Slot {
        let instance: Instance
        let partition: Int
        var machine = PartitionMachine(fetchesFrom: PipelineSchema.beginning)
        var position: Int64 = 0
        var batch: [SimulatedInput] = []
        var owed: [SimulatedRecord] = []
        var leftovers: [Int64: [SimulatedRecord]] = [:]
        var isGone = false
        var hasEnded = false
        /// Counts waits, so that an alarm ends its own and no later one.
        var waits = 0
        var isWaiting = false
        var transients = 0
        var hasLoaded = false
        init(_ instance: Instance, _ partition: Int) {
            self.instance = instance
            self.partition = partition
        }
    }

    // MARK: Running

    /// Nil when everything held.
    func run() -> String? {
        for id in 0..<plan.instances { start(Instance(id)) }
        server(in: 0) { self.coordinate() }
        server(in: 5) { self.publishInput() }
        server(in: 5) { self.beginCommand() }
        for _ in 0..<plan.killsMax { server(in: pick(200...11_000)) { self.kill() } }
        for _ in 0..<plan.freezesMax { server(in: pick(200...11_000)) { self.freeze() } }
        for _ in 0..<plan.outagesMax { server(in: pick(200...9_000)) { self.breakSomething() } }
        server(in: Self.faultsEndAt) { self.endFaults() }
        while violation == nil, let (at, action) = agenda.next() {
            now = at
            events += 1
            action()
            if !hasFaults, isAtRest { break }
            if now > Self.restAt {
                fail(.comesToRest, "does not come to rest: \(whatIsLeft)")
                break
            }
        }
        if violation == nil { checkTheEnd() }
        return violation
    }

    private func fail(_ broken: Promise, _ what: String) {
        if violation == nil, promise == nil || promise == broken { violation = "\(what) (at \(now) ms)" }
    }

    private func note(_ text: @autoclosure () -> String) { if isTraced { trace.append("\(now) \(text())") } }

    private func pick(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }
    private func chance(_ perMille: Int) -> Bool { pick(0...999) < perMille }
    private func faulty(_ perMille: Int) -> Bool { hasFaults && chance(perMille) }

    private func server(in delay: Int, _ action: @escaping () -> Void) { agenda.add(at: now + delay, action) }

    /// What happens in an instance: not at all when it is dead, and later when it is frozen.
    private func client(_ instance: Instance, in delay: Int, _ action: @escaping () -> Void) {
        agenda.add(at: now + delay) { [unowned self] in
            guard instance.isAlive else { return }
            if let until = instance.frozenUntil, until > now { return client(instance, in: until - now, action) }
            action()
        }
    }

    private var isAtRest: Bool {
        published == plan.inputs && commandsLeft == 0 && commandsUnderWay == 0 && database.outbox.isEmpty
            && (0..<plan.partitions).allSatisfy { max(0, database.offsets[$0]) == Int64(inputs[$0].count) }
            && instances.allSatisfy { !$0.isAlive || $0.outgoing.isEmpty }
            && database.stateRevisions.allSatisfy { log.states[$0.key]?.last == $0.value }
    }

    private var whatIsLeft: String {
        let stored = database.offsets.indices.map { "\(database.offsets[$0])/\(inputs[$0].count)" }
        let standing = owners.compactMap { $0?.machine.standing }
        return "offsets \(stored), outbox \(database.outbox.keys.sorted().map { "\($0.stream) \($0.number)" }), "
            + "commands \(commandsUnderWay), standing \(standing), "
            + "last states \(database.stateRevisions.filter { log.states[$0.key]?.last != $0.value })"
    }

    private func checkTheEnd() {
        for input in inputs.joined() {
            let (effects, dead) = (database.effects[input.id] ?? 0, database.dead[input.id] ?? 0)
            if (effects, dead) != (input.kind == .good ? (1, 0) : (0, 1)) {
                fail(
                    .takesEffectOnce,
                    "input \(input.id) (\(input.kind)) took effect \(effects) times, dead letter \(dead) times")
            }
        }
        for (key, revision) in database.answerRevisions where log.answers[key].map({ Set($0).count }) != revision {
            fail(.losesNothing, "of key \(key), \(log.answers[key] ?? []) was published, committed were \(revision)")
        }
        for (key, revision) in database.stateRevisions where log.states[key]?.last != revision {
            fail(
                .endsWithTheLatest,
                "the compacted topic ends with \(log.states[key] ?? []) of key \(key), not with \(revision)")
        }
    }

    // MARK: The world

    private func publishInput() {
        guard published < plan.inputs else { return }
        let partition = pick(0...plan.partitions - 1)
        for _ in 0..<min(pick(1...4), plan.inputs - published) {
            let kind: SimulatedInput.Kind = chance(40) ? .unappliable : chance(30) ? .alwaysTransient : .good
            inputs[partition].append(
                SimulatedInput(id: published, key: partition * 100 + pick(0...2), kind: kind))
            published += 1
        }
        if let slot = owners[partition], slot.isWaiting { wake(slot) }
        server(in: pick(5...700)) { self.publishInput() }
    }

    /// A command: locks its key, takes its number, commits.
    private func beginCommand() {
        guard commandsLeft > 0 else { return }
        commandsLeft -= 1
        commandsUnderWay += 1
        let instance = instances.filter(\.isAlive).randomElement(using: &random)
        let key = pick(0...2)
        let early: Int64?
        if flaws.contains(.numberBeforeLock) {
            database.lastNumber += 1
            early = database.lastNumber
        } else {
            early = nil
        }
        lock(key, instance, number: early)
        server(in: pick(1...900)) { self.beginCommand() }
    }

    private func lock(_ key: Int, _ instance: Instance?, number early: Int64? = nil) {
        guard database.locked.insert(key).inserted else {
            return server(in: 3) { self.lock(key, instance, number: early) }
        }
        if early == nil { database.lastNumber += 1 }
        let number = early ?? database.lastNumber
        server(in: faulty(plan.slowPerMille) ? pick(100...2500) : pick(1...15)) { [self] in
            database.locked.remove(key)
            commandsUnderWay -= 1
            guard instance?.isAlive == true, !faulty(30) else { return note("a command on \(key) is rolled back") }
            let revision = (database.stateRevisions[key] ?? 0) + 1
            database.stateRevisions[key] = revision
            owe(SimulatedRecord(topic: .states, key: key, revision: revision), number, by: instance)
        }
    }

    private func owe(_ record: SimulatedRecord, _ number: Int64, by instance: Instance?) {
        note("commit of state \(record.key)/\(record.revision) as \(number)")
        let stream = flaws.contains(.publishersByInstance) ? "commands \(instance?.id ?? 0)" : "commands"
        database.outbox[.init(stream: stream, number: number)] = .init(records: [record], committedAt: now)
        for other in instances where other === instance || !faulty(100) {
            client(other, in: pick(0...3)) { self.wakePublisher(other) }
        }
    }

    /// The owner of the compacted topic reads back what was published.
    private func readBack(_ record: SimulatedRecord) {
        guard !flaws.contains(.noReadBack), let revision = database.stateRevisions[record.key],
            record.revision < revision
        else { return }
        if database.locked.contains(record.key) { return server(in: 5) { self.readBack(record) } }
        database.lastNumber += 1
        owe(
            SimulatedRecord(topic: .states, key: record.key, revision: revision), database.lastNumber,
            by: instances.first { $0.isAlive })
    }

    private func appended(_ record: SimulatedRecord) {
        let seen = record.topic == .answers ? log.answers[record.key] : log.states[record.key]
        if record.revision > (seen?.max() ?? 0) + 1 {
            fail(.leavesInOrder, "\(record.topic) \(record.key)/\(record.revision) leaves behind \(seen ?? [])")
        }
        log.append(record)
        if record.topic == .states { server(in: pick(10...200)) { self.readBack(record) } }
    }

    // MARK: Faults

    private func kill() {
        guard hasFaults, let victim = instances.filter(\.isAlive).randomElement(using: &random) else { return }
        note("instance \(victim.id) is killed")
        victim.isAlive = false
        victim.awayFrom = now
        server(in: pick(100...6000)) { self.start(Instance(self.instances.count)) }
    }

    private func freeze() {
        guard hasFaults,
            let victim = instances.filter({ $0.isAlive && $0.frozenUntil == nil }).randomElement(using: &random)
        else { return }
        let duration = pick(100...9000)
        note("instance \(victim.id) is frozen for \(duration)")
        victim.frozenUntil = now + duration
        victim.awayFrom = now
        server(in: duration) { [self] in
            victim.frozenUntil = nil
            guard victim.isAlive else { return }
            victim.awayFrom = nil
            if victim.isMember { return }
            // The group tells it what it has lost, a little later.
            client(victim, in: pick(0...400)) { [self] in
                victim.isMember = true
                for slot in slots(of: victim) { end(slot) }
            }
        }
    }

    private func breakSomething() {
        let until = now + pick(50...3000)
        switch pick(0...3) {
        case 0: databaseDownUntil = until
        case 1: brokerDownUntil = until
        case 2: rightsGoneUntil = until
        default: clockOffset += pick(-3_600_000...3_600_000)
        }
    }

    private func endFaults() {
        hasFaults = false
        databaseDownUntil = 0
        brokerDownUntil = 0
        rightsGoneUntil = 0
        if !instances.contains(where: \.isAlive) { start(Instance(instances.count)) }
    }

    // MARK: The group

    private var everySlot: [Slot] = []

    private func slots(of instance: Instance) -> [Slot] {
        everySlot.filter { $0.instance === instance && !$0.hasEnded }
    }

    private func start(_ instance: Instance) {
        instances.append(instance)
        client(instance, in: pick(1...200)) { self.perform(instance, instance.publisher.last) }
    }

    private func coordinate() {
        for instance in instances where instance.isMember {
            guard let since = instance.awayFrom, now - since > Self.sessionMilliseconds else { continue }
            note("the group expels instance \(instance.id)")
            instance.isMember = false
            for partition in owners.indices where owners[partition]?.instance === instance { owners[partition] = nil }
        }
        let members = instances.filter { $0.isMember && $0.isAlive && $0.frozenUntil == nil }
        for partition in owners.indices {
            if let owner = owners[partition] {
                // A rebalance now and then, as when members come and go.
                if owner.hasEnded, owner.isGone {
                    owners[partition] = nil
                } else if faulty(10), owner.instance.isAlive, owner.instance.frozenUntil == nil {
                    client(owner.instance, in: pick(0...50)) { self.end(owner) }
                }
            }
            if owners[partition] == nil, let member = members.randomElement(using: &random) {
                let slot = Slot(member, partition)
                owners[partition] = slot
                everySlot.removeAll(where: \.hasEnded)
                everySlot.append(slot)
                note("partition \(partition) goes to instance \(member.id)")
                client(member, in: pick(1...50)) { self.claimStart(slot) }
            }
        }
        server(in: 200) { self.coordinate() }
    }

    /// The group's consumer asks where to start before it fetches.
    private func claimStart(_ slot: Slot) {
        if slot.isGone { return slot.hasEnded = true }
        let partition = slot.partition
        let body: () -> PartitionMachine.Event = { .claimed(self.database.offsets[partition]) }
        request(slot.instance, body, failure: { .failed($0) }) { [self] event in
            guard case .claimed(let stored) = event else {
                return client(slot.instance, in: 200) { self.claimStart(slot) }
            }
            slot.position = max(0, stored)
            slot.machine = PartitionMachine(fetchesFrom: stored)
            perform(slot, slot.machine.last)
        }
    }

    private func end(_ slot: Slot) {
        guard !slot.isGone else { return }
        slot.isGone = true
        if slot.isWaiting { wake(slot) }
    }

    // MARK: Requests

    /// A round trip to the database, which may be lost on its way there or back, or take its time. What arrives is done,
    /// whatever has become of who asked.
    private func request<Event>(
        _ instance: Instance, _ body: @escaping () -> Event, failure: @escaping (Fate) -> Event,
        reply: @escaping (Event) -> Void
    ) {
        let there = faulty(plan.slowPerMille) ? pick(50...6000) : pick(0...4)
        let back = faulty(plan.slowPerMille) ? pick(50...3000) : pick(0...4)
        let isLostThere = faulty(plan.lostPerMille / 2)
        let isLostBack = faulty(plan.lostPerMille / 2)
        let failed: (Fate) -> Void = { [self] fate in
            client(instance, in: back) { reply(failure(fate)) }
        }
        server(in: there) { [self] in
            if isLostThere || databaseDownUntil > now { return failed(.outage("no answer")) }
            if rightsGoneUntil > now { return failed(.fatal("no right")) }
            let event = body()
            if isLostBack { return failed(.outage("the answer was lost")) }
            client(instance, in: back) { reply(event) }
        }
    }

    /// An instance's producer: one line, in which records go out in order while the broker is there.
    private func send(_ records: [SimulatedRecord], from instance: Instance, _ done: @escaping () -> Void) {
        if records.isEmpty { return client(instance, in: 1, done) }
        for (index, record) in records.enumerated() {
            instance.outgoing.append((record, index == records.count - 1 ? done : nil))
        }
        if !instance.isSending {
            instance.isSending = true
            client(instance, in: pick(0...3)) { self.sendNext(instance) }
        }
    }

    private func sendNext(_ instance: Instance) {
        guard let (record, done) = instance.outgoing.first else { return instance.isSending = false }
        if brokerDownUntil > now {
            return client(instance, in: brokerDownUntil - now + pick(0...100)) { self.sendNext(instance) }
        }
        appended(record)
        // The acknowledgement may be long in coming, and the record is sent once more meanwhile, which the broker notices.
        instance.outgoing.removeFirst()
        if let done { client(instance, in: faulty(plan.slowPerMille) ? pick(10...2000) : pick(0...3), done) }
        client(instance, in: faulty(plan.slowPerMille) ? pick(10...3000) : pick(0...3)) { self.sendNext(instance) }
    }

    private func delete(_ stream: String, _ numbers: [Int64]) {
        for number in numbers {
            let isFlawed = flaws.contains(.publishersByInstance) && stream.hasPrefix("commands")
            let key =
                isFlawed
                ? database.outbox.keys.first { $0.stream.hasPrefix("commands") && $0.number == number }
                : .init(stream: stream, number: number)
            guard let key, let row = database.outbox.removeValue(forKey: key) else { continue }
            for record in row.records where !log.holds(record) {
                fail(.losesNothing, "row \(number) of \(stream) is deleted, and \(record) was never sent")
            }
        }
    }

    // MARK: A partition

    private func stream(_ partition: Int) -> String { "partition \(partition)" }

    private func handle(_ slot: Slot, _ event: PartitionMachine.Event) {
        let action = slot.machine.handle(event)
        note("instance \(slot.instance.id) [\(slot.partition)]: \(event) -> \(action)")
        perform(slot, action)
    }

    private func ask(_ slot: Slot, _ body: @escaping () -> PartitionMachine.Event) {
        request(slot.instance, body, failure: { .failed($0) }) { self.handle(slot, $0) }
    }

    private func perform(_ slot: Slot, _ action: PartitionMachine.Action) {
        let (instance, partition) = (slot.instance, slot.partition)
        switch action {
        case .claim: ask(slot) { .claimed(self.database.offsets[partition]) }
        case .load:
            let isBlind = flaws.contains(.forgetsWhatIsBefore) && slot.hasLoaded
            ask(slot) { [self] in
                slot.hasLoaded = true
                if isBlind { return .loaded([]) }
                let rows = database.outbox.filter { $0.key.stream == stream(partition) }
                slot.leftovers = Dictionary(uniqueKeysWithValues: rows.map { ($0.key.number, $0.value.records) })
                return .loaded(rows.keys.map(\.number).sorted())
            }
        case .seek(let offset):
            if faulty(20) {
                return client(instance, in: pick(1...50)) { self.handle(slot, .failed(.outage("no seek"))) }
            }
            slot.position = max(0, offset)
            client(instance, in: 1) { self.handle(slot, .sought) }
        case .take(let isBounded): take(slot, isBounded)
        case .commit(let run, let expected, let forget): commit(slot, run, expected, forget)
        case .bury(let index, _, let expected, let forget): bury(slot, index, expected, forget)
        case .prepare: client(instance, in: pick(1...30)) { self.handle(slot, .prepared) }
        case .send: deliver(slot, slot.owed)
        case .sendLeftover(let number): deliver(slot, slot.leftovers[number] ?? [])
        case .clear(let numbers):
            ask(slot) { [self] in
                let all = database.outbox.keys.filter { $0.stream == stream(partition) }.map(\.number).sorted()
                delete(stream(partition), flaws.contains(.clearsAll) ? all : numbers)
                return .cleared
            }
        case .rest(let duration):
            beginWait(slot, Int(duration / .milliseconds(1)), .rested)
        case .end:
            slot.hasEnded = true
            if !slot.isGone, !flaws.contains(.neverBeginsAnew) { beginAnew(slot) }
        }
    }

    /// What ended although it is this member's, the group's consumer begins anew after a while.
    private func beginAnew(_ ended: Slot) {
        let slot = Slot(ended.instance, ended.partition)
        if owners[slot.partition] === ended { owners[slot.partition] = slot }
        everySlot.append(slot)
        client(slot.instance, in: pick(200...400)) { self.claimStart(slot) }
    }

    private func take(_ slot: Slot, _ isBounded: Bool) {
        if slot.isGone { return client(slot.instance, in: 0) { self.handle(slot, .gone) } }
        if faulty(10) {
            return client(slot.instance, in: pick(0...50)) { self.handle(slot, .failed(.outage("no fetch"))) }
        }
        let (position, end) = (slot.position, Int64(inputs[slot.partition].count))
        if position < end {
            let count = min(Int64(pick(1...6)), end - position)
            slot.batch = Array(inputs[slot.partition][Int(position)..<Int(position + count)])
            slot.position += count
            let offsets = Array(position..<position + count)
            return client(slot.instance, in: pick(0...3)) { self.handle(slot, .taken(offsets)) }
        }
        beginWait(slot, isBounded ? 500 : nil, .idle)
    }

    private func beginWait(_ slot: Slot, _ milliseconds: Int?, _ event: PartitionMachine.Event) {
        slot.waits += 1
        slot.isWaiting = true
        let wait = slot.waits
        if slot.isGone { return wake(slot) }
        guard let milliseconds else { return }
        client(slot.instance, in: milliseconds) { [self] in
            guard slot.isWaiting, slot.waits == wait else { return }
            slot.isWaiting = false
            handle(slot, slot.isGone ? .gone : event)
        }
    }

    /// Records have come, or the partition goes.
    private func wake(_ slot: Slot) {
        let wait = slot.waits
        client(slot.instance, in: pick(0...3)) { [self] in
            guard slot.isWaiting, slot.waits == wait else { return }
            switch slot.machine.last {
            case .take(let isBounded):
                slot.isWaiting = false
                take(slot, isBounded)
            case .rest where slot.isGone:
                slot.isWaiting = false
                handle(slot, .gone)
            default: break
            }
        }
    }

    private func deliver(_ slot: Slot, _ records: [SimulatedRecord]) {
        var isAnswered = false
        send(records, from: slot.instance) { [self] in
            if isAnswered { return }
            isAnswered = true
            handle(slot, .sent)
        }
        if slot.isGone {
            // Whoever waits gives up; what is under way goes on.
            client(slot.instance, in: pick(0...5)) { [self] in
                if isAnswered { return }
                isAnswered = true
                handle(slot, .gone)
            }
        }
    }

    private func commit(_ slot: Slot, _ run: Range<Int>, _ expected: Int64, _ forget: [Int64]) {
        let all = slot.batch[run]
        let first = Int64(inputs[slot.partition].firstIndex { $0.id == all.first?.id } ?? 0)
        let isUnprepared = chance(20)
        let isUnlucky = slot.transients < 3 && faulty(60)
        slot.transients = isUnlucky ? slot.transients + 1 : 0
        let count = chance(100) ? pick(1...all.count) : all.count
        let partition = slot.partition
        ask(slot) { [self] in
            if isUnlucky { return .failed(.transient("another was first")) }
            if isUnprepared { return .unprepared }
            let applied = all.prefix(count)
            if applied.contains(where: { $0.kind == .unappliable }) { return .failed(.unappliable("never")) }
            if applied.contains(where: { $0.kind == .alwaysTransient }) { return .failed(.transient("not now")) }
            return write(partition, slot, expected, forget, first, Array(applied)) { input in
                database.effects[input.id, default: 0] += 1
                if database.effects[input.id] != 1 { fail(.takesEffectOnce, "input \(input.id) takes effect twice") }
                let revision = (database.answerRevisions[input.key] ?? 0) + 1
                database.answerRevisions[input.key] = revision
                return SimulatedRecord(topic: .answers, key: input.key, revision: revision)
            }
        }
    }

    private func bury(_ slot: Slot, _ index: Int, _ expected: Int64, _ forget: [Int64]) {
        let input = slot.batch[index]
        let first = Int64(inputs[slot.partition].firstIndex { $0.id == input.id } ?? 0)
        let isUnlucky = slot.transients < 3 && faulty(60)
        slot.transients = isUnlucky ? slot.transients + 1 : 0
        let partition = slot.partition
        ask(slot) { [self] in
            if isUnlucky { return .failed(.transient("another was first")) }
            return write(partition, slot, expected, forget, first, [input]) { input in
                database.dead[input.id, default: 0] += 1
                return nil
            }
        }
    }

    /// The transaction of a batch.
    private func write(
        _ partition: Int, _ slot: Slot, _ expected: Int64, _ forget: [Int64], _ first: Int64,
        _ inputs: [SimulatedInput], _ effect: (SimulatedInput) -> SimulatedRecord?
    ) -> PartitionMachine.Event {
        guard database.offsets[partition] == expected else { return .superseded }
        let next = first + Int64(inputs.count)
        if next <= expected { fail(.takesEffectOnce, "partition \(partition) goes back from \(expected) to \(next)") }
        if max(0, expected) != first {
            fail(.takesEffectOnce, "partition \(partition) goes on with \(first), not with \(expected)")
        }
        let before = database.outbox.keys.filter { $0.stream == stream(partition) && $0.number < first }.map(\.number)
        delete(stream(partition), flaws.contains(.forgetsWhatIsBefore) ? before.sorted() : forget)
        let records = inputs.compactMap(effect)
        let key = SimulatedDatabase.RowKey(stream: stream(partition), number: first)
        if database.outbox[key] != nil {
            fail(.losesNothing, "row \(first) of partition \(partition) is there already")
        }
        database.outbox[key] = .init(records: records, committedAt: now)
        database.offsets[partition] = next
        slot.owed = records
        return .committed(.init(next: next, count: inputs.count, owes: true))
    }

    // MARK: The publisher of commands

    private func publisherStream(_ instance: Instance) -> String {
        flaws.contains(.publishersByInstance) ? "commands \(instance.id)" : "commands"
    }

    private func handle(_ instance: Instance, _ event: PublisherMachine.Event) {
        let action = instance.publisher.handle(event)
        note("instance \(instance.id) publisher: \(event) -> \(action)")
        perform(instance, action)
    }

    private func perform(_ instance: Instance, _ action: PublisherMachine.Action) {
        switch action {
        case .look(let forget):
            let body: () -> PublisherMachine.Event = { self.look(instance, forget) }
            request(instance, body, failure: { .failed($0) }) { self.handle(instance, $0) }
        case .send(let numbers):
            send(numbers.flatMap { instance.publisherRows[$0] ?? [] }, from: instance) {
                self.handle(instance, .sent)
            }
        case .wait(let duration):
            instance.publisherWaits += 1
            let wait = instance.publisherWaits
            client(instance, in: Int(duration / .milliseconds(1))) { [self] in
                if instance.publisherWaits == wait { wakePublisher(instance) }
            }
        case .rest(let duration):
            client(instance, in: Int(duration / .milliseconds(1))) { self.handle(instance, .rested) }
        case .release, .end: break
        }
    }

    private func wakePublisher(_ instance: Instance) {
        guard case .wait = instance.publisher.last, instance.publisherWaits > 0 else { return }
        instance.publisherWaits += 1
        handle(instance, .woken)
    }

    private func look(_ instance: Instance, _ forget: [Int64]) -> PublisherMachine.Event {
        let stream = publisherStream(instance)
        delete(stream, forget)
        let clock = now + clockOffset
        let term = PublisherMachine.leaseSeconds * 1000
        if !flaws.contains(.publishersByInstance) {
            if let lease = database.lease, lease.holder != instance.id, (clock...clock + term).contains(lease.until) {
                return .looked(.follows)
            }
            database.lease = (instance.id, clock + term)
        }
        let isFlawed = flaws.contains(.publishersByInstance)
        let rows = database.outbox.filter {
            $0.key.stream == stream
                || isFlawed && $0.key.stream.hasPrefix("commands") && now - $0.value.committedAt > Self.leftBehindAfter
        }.sorted { $0.key < $1.key }
        let first = rows.prefix(3)
        instance.publisherRows = Dictionary(uniqueKeysWithValues: first.map { ($0.key.number, $0.value.records) })
        return .looked(.leads(first.map(\.key.number), more: rows.count > first.count))
    }
}
