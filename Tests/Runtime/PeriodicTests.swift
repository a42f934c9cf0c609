import Runtime
import Synchronization
import Testing

@Suite struct PeriodicTests {
    private struct Away: Error, CustomStringConvertible {
        var description: String { "away" }
    }

    /// Counts the runs of a body, lets the first ones fail and says what was told.
    private final class Runs: Sendable {
        private let state = Mutex<(count: Int, failures: Int, told: [String])>((0, 0, []))

        init(failures: Int = 0) { state.withLock { $0.failures = failures } }

        var count: Int { state.withLock { $0.count } }
        var told: [String] { state.withLock { $0.told } }

        func run() throws {
            let fails = state.withLock { state in
                state.count += 1
                return state.count <= state.failures
            }
            if fails { throw Away() }
        }

        func tell(_ outcome: Periodic.Outcome) {
            let text =
                switch outcome {
                case .failed(let error, let isFirst): "\(error)\(isFirst ? " first" : "")"
                case .recovered: "recovered"
                }
            state.withLock { $0.told.append(text) }
        }

        func reaches(_ count: Int) async { while self.count < count { try? await Task.sleep(for: .milliseconds(1)) } }
    }

    @Test func itRunsAgainAfterEachInterval() async {
        let runs = Runs()
        let periodic = Periodic(every: .milliseconds(1)) { try runs.run() }
        #expect(!periodic.isReady)
        periodic.start()
        periodic.start()
        await runs.reaches(5)
        #expect(periodic.isReady)
        await periodic.stop()
        let last = runs.count
        periodic.start()
        periodic.wake()
        #expect(runs.count == last && !periodic.isReady)
    }

    @Test func itRunsWhenItIsWoken() async {
        let runs = Runs()
        let periodic = Periodic(every: nil, runsAtOnce: false) { try runs.run() }
        periodic.start()
        for count in 1...3 {
            periodic.wake()
            await runs.reaches(count)
        }
        await periodic.stop()
        #expect(runs.count == 3)
    }

    @Test func errorsAreSurvivedAndToldApart() async {
        let runs = Runs(failures: 3)
        let periodic = Periodic(every: .seconds(600), told: runs.tell) { try runs.run() }
        periodic.start()
        await runs.reaches(2)
        #expect(periodic.lastError == "away" && !periodic.isReady)
        await runs.reaches(4)
        while !periodic.isReady { await Task.yield() }
        #expect(periodic.lastError == nil)
        await periodic.stop()
        #expect(runs.told == ["away first", "away", "away", "recovered"])
    }

    @Test func aRunThatHangsIsCancelledByTheStop() async {
        let (began, begin) = AsyncStream.makeStream(of: Void.self)
        let periodic = Periodic(every: nil) {
            begin.finish()
            try await Task.sleep(for: .seconds(600))
        }
        periodic.start()
        for await _ in began {}
        await periodic.stop()
        #expect(periodic.lastError == nil)
    }
}
