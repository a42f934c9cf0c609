// The phases of a connection, without a server.
import Testing

@testable import Postgres

@Suite struct ConnectionMachineTests {
    private let now = ContinuousClock.Instant.now
    private let vanished = PostgresError(sqlState: "26000", message: "prepared statement does not exist")

    private func machine() -> ConnectionMachine {
        var machine = ConnectionMachine(cache: StatementCache(entriesMax: 2))
        #expect(machine.feed(.connected) == [.enterPipeline])
        return machine
    }

    private func step(
        _ id: Int, _ statements: [SQL], starts: Bool = true, commits: Bool = true, isPatient: Bool = false
    ) -> ConnectionMachine.Event {
        .submit(
            ConnectionMachine.Step(
                id: id, statements: statements, startsTransaction: starts, commits: commits, isPatient: isPatient),
            at: now)
    }

    /// Feeds the replies, and gives what came of them.
    private func feed(_ machine: inout ConnectionMachine, _ replies: [ConnectionMachine.Reply])
        -> [ConnectionMachine.Action]
    {
        replies.flatMap { machine.feed(.reply($0)) }
    }

    @Test func aStepIsSentWithItsSyncAndAnsweredWhenThatComesBack() {
        var machine = machine()
        #expect(
            machine.feed(step(1, ["a"])) == [
                .prepare(1, index: 0, name: "s1"), .execute(1, index: 0, name: "s1"), .sync, .flush,
            ])
        #expect(machine.isListening && machine.isAwaitingReply)
        #expect(
            feed(&machine, [.success, .end, .success, .end, .sync]) == [.keep(1, index: 0), .succeed(1)])
        #expect(!machine.isListening && !machine.isAwaitingReply)
        #expect(machine.feed(step(2, ["a"])) == [.execute(2, index: 0, name: "s1"), .sync, .flush])
    }

    @Test func aStatementThatVanishedIsTheCallersErrorAndEverythingIsPreparedAnewBehindASyncOfItsOwn() {
        var machine = machine()
        _ = machine.feed(step(1, ["a"]))
        _ = feed(&machine, [.success, .end, .success, .end, .sync])
        _ = machine.feed(step(2, ["a"]))
        let answers = feed(&machine, [.failure(vanished, isFatal: false), .end, .sync])
        #expect(answers == [.fail(2, vanished.naming(statement: "a"))])
        #expect(
            machine.feed(step(3, ["a"])) == [
                .deallocate(.all), .sync, .prepare(3, index: 0, name: "s2"), .execute(3, index: 0, name: "s2"), .sync,
                .flush,
            ])
        // Whatever becomes of it is nobody's failure.
        let cancelled = PostgresError(sqlState: "57014", message: "cancelled")
        #expect(
            feed(
                &machine,
                [.failure(cancelled, isFatal: false), .end, .sync, .success, .end, .success, .end, .sync])
                == [.keep(3, index: 0), .succeed(3)])
    }

    @Test func nothingIsDeallocatedInsideOfATransaction() {
        var machine = machine()
        let done: [ConnectionMachine.Reply] = [.success, .end, .success, .end, .sync]
        for (id, text) in (["a", "b", "c"] as [SQL]).enumerated() {
            _ = machine.feed(step(id, [text]))
            _ = feed(&machine, done)
        }
        // The first is owed since the third.
        #expect(
            machine.feed(step(3, ["b"], starts: false)) == [.execute(3, index: 0, name: "s2"), .sync, .flush])
        _ = feed(&machine, [.success, .end, .sync])
        #expect(
            machine.feed(step(4, ["b"])) == [
                .deallocate(.one(name: "s1")), .sync, .execute(4, index: 0, name: "s2"), .sync, .flush,
            ])
    }

    @Test func aServerThatStopsIsTheReasonThatEverybodyHears() {
        var machine = machine()
        _ = machine.feed(step(1, ["a"], commits: false))
        _ = machine.feed(step(2, ["b"]))
        _ = feed(&machine, [.success, .end, .success, .end])
        let stop = PostgresError(sqlState: "57P01", message: "terminating connection due to administrator command")
        // In place of the sync that is awaited.
        let actions = machine.feed(.reply(.failure(stop, isFatal: true)))
        #expect(actions.count == 3)
        #expect(actions.first == .fail(1, stop.naming(statement: "a")))
        guard case .fail(2, let second) = actions[1] else {
            Issue.record("expected the second to fail: \(actions)")
            return
        }
        #expect(second.isOutcomeUnknown)
        #expect(actions.last == .close(stop))
        #expect(machine.failure == stop)
        #expect(machine.feed(step(3, ["a"])) == [.fail(3, stop)])
        #expect(machine.feed(.lost(vanished)).isEmpty)
    }

    @Test func aConnectionThatWasNeverMadeTakesNothing() {
        var machine = ConnectionMachine(cache: StatementCache(entriesMax: 2))
        #expect(machine.feed(.lost(PostgresError(sqlState: "08001", message: "refused"))).isEmpty)
        #expect(machine.failure?.sqlState == "08001")
        #expect(machine.feed(.connected).isEmpty)
        #expect(!machine.isUp)
    }

    @Test func onlyWhoeverOwesAnAnswerInABoundedTimeIsTakenForSilent() {
        var machine = machine()
        let silence = Duration.seconds(1)
        #expect(machine.feed(.look(at: now + .seconds(9), silenceMax: silence)).isEmpty)
        _ = machine.feed(step(1, ["a"], isPatient: true))
        #expect(machine.feed(.look(at: now + .seconds(9), silenceMax: silence)).isEmpty)
        _ = machine.feed(step(2, ["b"]))
        _ = machine.feed(.heard(at: now + .seconds(9)))
        #expect(machine.feed(.look(at: now + .seconds(9.5), silenceMax: silence)).isEmpty)
        #expect(machine.feed(.look(at: now + .seconds(10), silenceMax: silence)).count == 3)
        #expect(!machine.isUp)
    }

    @Test func aScriptHasTheConnectionToItself() {
        var machine = machine()
        _ = machine.feed(step(1, ["a"]))
        guard case .fail(2, _)? = machine.feed(.script(2, text: "x; y")).first else {
            Issue.record("a script began beside a statement")
            return
        }
        _ = feed(&machine, [.success, .end, .success, .end, .sync])
        #expect(machine.feed(.script(3, text: "x; y")) == [.leavePipeline, .sendScript("x; y"), .flush])
        guard case .fail(4, _)? = machine.feed(step(4, ["a"])).first else {
            Issue.record("a statement began beside a script")
            return
        }
        #expect(!machine.isListening && machine.isUp)
        #expect(
            feed(&machine, [.success, .success, .end])
                == [.keep(3, index: 0), .keep(3, index: 0), .enterPipeline, .succeed(3)])
        #expect(machine.feed(step(5, ["a"])) == [.execute(5, index: 0, name: "s1"), .sync, .flush])
    }

    @Test func whateverFailsEveryCallerGetsOneAnswerAndItIsTrue() {
        for seed in UInt64(0)..<3000 {
            var simulation = ConnectionSimulation(seed: seed)
            simulation.run()
            if simulation.problems.isEmpty { continue }
            var again = ConnectionSimulation(seed: seed, keepsHistory: true)
            again.run()
            Issue.record("seed \(seed): \(again.problems)\n\(again.history.joined(separator: "\n"))")
            return
        }
    }
}
