// A connection's state machine against a model of a server, with faults that a seed chooses.
@testable import Postgres

/// One connection's life: callers send single statements and transactions, statements fail, prepared statements vanish,
/// and the connection is lost at any point, with and without what was on its way. The same seed gives the same life.
struct ConnectionSimulation {
    private static let entriesMax = 3
    private static let start = ContinuousClock.Instant.now

    private var random: SeededGenerator
    private var machine = ConnectionMachine(cache: StatementCache(entriesMax: entriesMax))
    private var server = ModelServer()
    /// Sent, and not yet read by the server.
    private var wire = Fifo<ModelServer.Message>()
    private var sent: [Sent] = []
    private var transaction: OpenTransaction?
    private var transactions: [OpenTransaction] = []
    private var now = start
    private var tokens = 0
    private var hasVanished = false
    private(set) var problems: [String] = []
    /// What happened, for whoever looks at a seed that failed.
    private(set) var history: [String] = []
    private let keepsHistory: Bool

    private struct Sent {
        enum Purpose { case alone, within, commit, rollback }
        let statements: [ModelServer.Statement]
        let purpose: Purpose
        let isScript: Bool
        var kept: [ModelServer.Payload?]
        var answer: Result<Void, PostgresError>?
    }

    private struct OpenTransaction {
        var tokens: [Int] = []
        var hasBegun = false
        var hasFailed = false
        var commit: Int?
        var rollback: Int?
        var first: Int?
        var last: Int?
    }

    init(seed: UInt64, keepsHistory: Bool = false) {
        random = SeededGenerator(seed: seed)
        self.keepsHistory = keepsHistory
    }

    mutating func run() {
        feed(.connected)
        let vanishes = Int.random(in: 0..<2, using: &random) == 0
        let isLost = Int.random(in: 0..<2, using: &random) == 0
        for _ in 0..<Int.random(in: 5..<40, using: &random) where machine.isUp {
            act()
            for _ in 0..<Int.random(in: 0..<8, using: &random) { serve() }
            for _ in 0..<Int.random(in: 0..<8, using: &random) { deliver() }
            if vanishes, chance(15) { vanish() }
            if isLost, chance(20) { lose() }
        }
        finish()
        judge()
    }

    private mutating func chance(_ oneIn: Int) -> Bool { Int.random(in: 0..<oneIn, using: &random) == 0 }

    private mutating func note(_ text: @autoclosure () -> String) { if keepsHistory { history.append(text()) } }

    // MARK: Callers

    private var underWay: Int { sent.count { $0.answer == nil } }

    private mutating func act() {
        if transaction != nil { return goOn() }
        if underWay == 0, chance(3) {
            transaction = OpenTransaction()
            return goOn()
        }
        if underWay < 6 { submit([statement()], .alone, startsTransaction: true) }
    }

    /// The next thing that a transaction's body does.
    private mutating func goOn() {
        guard var open = transaction else { return }
        if let rollback = open.rollback {
            if sent[rollback].answer != nil { endTransaction(open) }
            return
        }
        let isAnswered = open.last.map { sent[$0].answer != nil } ?? true
        // Statements may be sent without awaiting those before them, BEGIN excepted.
        let hasBegun = open.first.map { sent[$0].answer != nil } ?? true
        let isScript = open.last.map { sent[$0].isScript } ?? false
        guard isAnswered || (hasBegun && !isScript && chance(3)), open.commit == nil || isAnswered else { return }
        if let commit = open.commit {
            if case .success = sent[commit].answer { return endTransaction(open) }
            open.rollback = submit([ModelServer.Statement(text: "ROLLBACK")], .rollback, startsTransaction: false)
            transaction = open
            return
        }
        if open.hasFailed || (open.hasBegun && chance(6)) {
            open.rollback = submit([ModelServer.Statement(text: "ROLLBACK")], .rollback, startsTransaction: false)
        } else if open.hasBegun, isAnswered, chance(6) {
            tokens += 1
            open.tokens.append(tokens)
            open.last = script(ModelServer.Statement(text: "script", token: tokens, isRefused: chance(4)))
        } else {
            let commits = chance(3)
            var statements = (0..<Int.random(in: commits ? 0..<3 : 1..<4, using: &random)).map { _ in statement() }
            open.tokens += statements.compactMap(\.token)
            let begins = !open.hasBegun
            if begins { statements.insert(ModelServer.Statement(text: "BEGIN"), at: 0) }
            if commits { statements.append(ModelServer.Statement(text: "COMMIT")) }
            open.hasBegun = true
            open.last = submit(statements, commits ? .commit : .within, startsTransaction: begins)
            open.first = open.first ?? open.last
            if commits { open.commit = open.last }
        }
        // It may have been answered at once.
        open.hasFailed = open.hasFailed || transaction?.hasFailed == true
        transaction = open
    }

    private mutating func endTransaction(_ open: OpenTransaction) {
        transactions.append(open)
        transaction = nil
    }

    private mutating func statement() -> ModelServer.Statement {
        if chance(20) { return ModelServer.Statement(text: "unparsable") }
        tokens += 1
        return ModelServer.Statement(
            text: "write \(Int.random(in: 0..<6, using: &random))", token: tokens, isRefused: chance(8),
            isStale: chance(15))
    }

    @discardableResult
    private mutating func submit(
        _ statements: [ModelServer.Statement], _ purpose: Sent.Purpose, startsTransaction: Bool
    ) -> Int {
        let id = sent.count
        sent.append(
            Sent(
                statements: statements, purpose: purpose, isScript: false,
                kept: Array(repeating: nil, count: statements.count)))
        note("step \(id) (\(purpose)): \(statements.map(\.text))")
        feed(
            .submit(
                ConnectionMachine.Step(
                    id: id, statements: statements.map { "\(identifier: $0.text)" as SQL },
                    startsTransaction: startsTransaction, commits: purpose == .alone || purpose == .commit,
                    isPatient: chance(5)),
                at: now))
        return id
    }

    private mutating func script(_ statement: ModelServer.Statement) -> Int {
        let id = sent.count
        sent.append(Sent(statements: [statement], purpose: .within, isScript: true, kept: [nil]))
        note("script \(id)")
        feed(.script(id, text: statement.text))
        return id
    }

    // MARK: The machine

    private mutating func feed(_ event: ConnectionMachine.Event, _ payload: ModelServer.Payload? = nil) {
        for action in machine.feed(event) {
            note("  \(action)")
            switch action {
            case .enterPipeline, .leavePipeline:
                if !wire.isEmpty { problems.append("\(action) with statements under way") }
            case .prepare(let id, let index, let name):
                wire.append(.parse(name: name, text: sent[id].statements[index].text))
            case .execute(let id, let index, let name):
                wire.append(.execute(name: name, sent[id].statements[index]))
            case .deallocate(let deallocation): wire.append(.deallocate(deallocation))
            case .sync: wire.append(.sync)
            case .sendScript(let text):
                guard let script = sent.last, script.isScript, script.statements[0].text == text else {
                    problems.append("another script was sent than was given")
                    continue
                }
                wire.append(.script(script.statements[0]))
            case .flush: break
            case .keep(let id, let index):
                if payload?.statement != sent[id].statements[index] {
                    problems.append("step \(id) got the result of another statement")
                }
                sent[id].kept[index] = payload
            case .succeed(let id): answer(id, .success(()))
            case .fail(let id, let error): answer(id, .failure(error))
            case .close: break
            }
        }
    }

    private mutating func answer(_ id: Int, _ answer: Result<Void, PostgresError>) {
        if sent[id].answer != nil { problems.append("step \(id) was answered twice") }
        sent[id].answer = answer
        guard case .failure(let error) = answer else { return }
        if sent[id].purpose == .within || sent[id].purpose == .commit {
            if error.sqlState == "25P02", transaction?.hasFailed == false {
                problems.append("step \(id) found its transaction aborted by nobody's failure")
            }
            transaction?.hasFailed = true
        }
        // What the pool does: nobody may find the remains of a transaction on it.
        if sent[id].purpose == .rollback, machine.isUp { feed(.lost(error)) }
        // And with one that has not run, when it is sent by itself.
        if sent[id].purpose == .alone, error.isStaleStatement, machine.isUp {
            var again = sent[id].statements[0]
            again.isStale = false
            tokens += 1
            again.token = tokens
            submit([again], .alone, startsTransaction: true)
        }
    }

    // MARK: The server and the network

    private mutating func serve() {
        guard let message = wire.removeFirst() else { return }
        note("server: \(message)")
        server.read(message)
    }

    private mutating func deliver() {
        guard machine.isAwaitingReply, let (reply, payload) = server.replies.removeFirst() else { return }
        now += .milliseconds(1)
        note("reply: \(reply)")
        feed(.heard(at: now))
        feed(.reply(reply), payload)
    }

    /// A pooler puts another session behind the connection, or somebody runs DISCARD ALL.
    private mutating func vanish() {
        note("prepared statements vanish")
        hasVanished = true
        server.prepared = [:]
    }

    private mutating func lose() {
        // Some of what was answered arrives, or nothing more.
        for _ in 0..<Int.random(in: 0..<6, using: &random) { deliver() }
        note("lost")
        switch Int.random(in: 0..<3, using: &random) {
        case 0: feed(.reply(.failure(PostgresError(sqlState: "57P01", message: "terminating"), isFatal: true)))
        case 1:
            now += .seconds(10)
            let isListening = machine.isListening
            feed(.look(at: now, silenceMax: .seconds(10)))
            if machine.isUp == isListening { problems.append("silence was judged wrongly") }
        default: break
        }
        if machine.isUp { feed(.lost(PostgresError(sqlState: "08006", message: "reset"))) }
        // What is on its way may still arrive there.
        for _ in 0..<Int.random(in: 0..<12, using: &random) { serve() }
        server.die()
    }

    /// Lets everything come to its end.
    private mutating func finish() {
        var rounds = 0
        while machine.isUp, underWay > 0 || transaction != nil {
            rounds += 1
            guard rounds < 1000 else {
                problems.append("\(underWay) steps are never answered")
                return
            }
            if transaction != nil { goOn() }
            while !wire.isEmpty { serve() }
            while machine.isAwaitingReply, !server.replies.isEmpty { deliver() }
        }
        if machine.isUp {
            // What is owed goes out with the next one.
            submit([ModelServer.Statement(text: "write 0", token: 0)], .alone, startsTransaction: true)
            while !wire.isEmpty || !server.replies.isEmpty {
                serve()
                deliver()
            }
            if !hasVanished, server.prepared.count > Self.entriesMax + 1 {
                problems.append("the server holds \(server.prepared.count) prepared statements")
            }
            if machine.isAwaitingReply || machine.isListening { problems.append("idle, and waiting all the same") }
        }
        if let transaction { transactions.append(transaction) }
        submit([ModelServer.Statement(text: "write 0", token: 0)], .rollback, startsTransaction: true)
        if !machine.isUp, sent.last?.answer == nil { problems.append("a lost connection took a statement") }
    }

    // MARK: The judgement

    private mutating func judge() {
        for (id, step) in sent.enumerated().dropLast() {
            guard let answer = step.answer else {
                problems.append("step \(id) was never answered")
                continue
            }
            if case .failure(let error) = answer, !error.isConnectionFailure, !isExpected(error, of: step) {
                problems.append("step \(id) failed for no reason: \(error)")
            }
            guard step.purpose == .alone, let token = step.statements[0].token, token > 0 else { continue }
            let isCommitted = server.committed.contains(token)
            switch answer {
            case .success:
                if !isCommitted { problems.append("step \(id) was answered, and is not in the table") }
            case .failure(let error):
                if isCommitted, !error.isOutcomeUnknown {
                    problems.append("step \(id) is said to have failed: \(error)")
                }
            }
        }
        for open in transactions {
            let committed = open.tokens.count { server.committed.contains($0) }
            let answer = open.commit.flatMap { sent[$0].answer }
            switch answer {
            case .success:
                let tag = open.commit.flatMap { sent[$0].kept.last??.tag }
                if tag != "COMMIT", !open.hasFailed { problems.append("a transaction was rolled back for no reason") }
                if committed != (tag == "COMMIT" ? open.tokens.count : 0) {
                    problems.append("a transaction answered by \(tag ?? "nothing") kept \(committed) of its rows")
                }
            case .failure(let error) where error.isOutcomeUnknown:
                if committed != 0, committed != open.tokens.count { problems.append("half a transaction was kept") }
            case .failure, nil:
                if committed != 0 { problems.append("a transaction that was not committed is kept") }
            }
        }
    }

    /// Whether the simulation itself made it fail so.
    private func isExpected(_ error: PostgresError, of step: Sent) -> Bool {
        switch error.sqlState {
        case "23505": step.statements.contains { $0.isRefused }
        case "0A000": step.statements.contains { $0.isStale }
        case "42601": step.statements.contains { $0.text == "unparsable" }
        case "26000": hasVanished
        case "25P02": step.purpose != .alone
        default: false
        }
    }
}

/// A session of Postgres, as far as libpq shows it: prepared statements, implicit transactions that end at a sync,
/// explicit ones, and errors that skip everything until the next sync.
struct ModelServer {
    struct Statement: Equatable {
        let text: String
        /// What it writes.
        var token: Int?
        var isRefused = false
        var isStale = false
    }

    struct Payload: Equatable {
        let statement: Statement
        let tag: String
    }

    enum Message {
        case parse(name: String, text: String)
        case execute(name: String, Statement)
        case deallocate(StatementCache.Deallocation)
        case sync
        case script(Statement)
    }

    private enum Block: Equatable { case none, open, aborted }

    var prepared: [String: String] = [:]
    private var nameless: String?
    private(set) var committed: Set<Int> = []
    var replies = Fifo<(ConnectionMachine.Reply, Payload?)>()
    private var written: [Int] = []
    private var block = Block.none
    private var isSkipping = false
    private var isDead = false

    mutating func die() {
        isDead = true
        written = []
    }

    mutating func read(_ message: Message) {
        guard !isDead else { return }
        if case .sync = message {
            if block == .none, !isSkipping { commit() }
            isSkipping = false
            return replies.append((.sync, nil))
        }
        if isSkipping {
            reply(.skipped)
            return
        }
        switch message {
        case .parse(let name, let text): parse(name, text)
        case .execute(let name, let statement):
            let text = name.isEmpty ? nameless : prepared[name]
            guard let text else { return refuse("26000", "prepared statement \"\(name)\" does not exist") }
            guard text == statement.text else { return refuse("XX000", "\(name) is \(text), not \(statement.text)") }
            // Only a plan that was kept can be out of date.
            if statement.isStale, !name.isEmpty, block != .aborted {
                return refuse("0A000", "cached plan must not change result type")
            }
            run(statement)
        case .deallocate(let deallocation):
            if block == .aborted { return refuse("25P02", "aborted") }
            switch deallocation {
            case .one(let name):
                guard prepared.removeValue(forKey: name) != nil else { return refuse("26000", "no \(name)") }
            case .all: prepared = [:]
            }
            reply(.success)
        case .script(let statement):
            run(statement)
            isSkipping = false
        case .sync: break
        }
    }

    private mutating func parse(_ name: String, _ text: String) {
        if text == "unparsable" { return refuse("42601", "syntax error") }
        if block == .aborted, text != "COMMIT", text != "ROLLBACK" { return refuse("25P02", "aborted") }
        if name.isEmpty {
            nameless = text
        } else {
            guard prepared[name] == nil else { return refuse("42P05", "\(name) exists") }
            prepared[name] = text
        }
        reply(.success)
    }

    private mutating func run(_ statement: Statement) {
        var tag = statement.text
        switch statement.text {
        case "BEGIN": block = .open
        case "COMMIT":
            if block == .aborted {
                tag = "ROLLBACK"
                written = []
            } else {
                commit()
            }
            block = .none
        case "ROLLBACK":
            written = []
            block = .none
        default:
            if block == .aborted { return refuse("25P02", "aborted") }
            if statement.isRefused { return refuse("23505", "duplicate") }
            if let token = statement.token { written.append(token) }
        }
        reply(.success, Payload(statement: statement, tag: tag))
    }

    private mutating func commit() {
        committed.formUnion(written)
        written = []
    }

    private mutating func refuse(_ code: String, _ message: String) {
        isSkipping = true
        if block == .none { written = [] } else { block = .aborted }
        reply(.failure(PostgresError(sqlState: code, message: message), isFatal: false))
    }

    private mutating func reply(_ reply: ConnectionMachine.Reply, _ payload: Payload? = nil) {
        replies.append((reply, payload))
        replies.append((.end, nil))
    }
}

/// The same numbers for the same seed.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed &* 0x9e37_79b9_7f4a_7c15 &+ 1 }

    /// SplitMix64.
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}
