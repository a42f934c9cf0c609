// Many concurrent commands in one transaction: what one commit costs is shared by all that wait for it.
import Synchronization

/// Collects the commands that arrive while a transaction runs and applies them together in the next one.
/// Who comes first goes at once, and those who come meanwhile go together as the next; under load a transaction gathers
/// what comes within the pace.
public final class GroupCommit<Command: Sendable, Answer: Sendable>: Sendable {
    public typealias Body = @Sendable ([Command], UnitOfWork) async throws -> [Result<Answer, any Error>]

    private let relay: Relay
    private let commandsMax: Int
    private let waitingMax: Int
    private let pace: Duration
    /// Commands within each pace that need not gather.
    private static var freeMax: Int { 32 }
    private let body: Body
    private let state = Mutex(State())

    private struct Waiting {
        let command: Command
        let continuation: CheckedContinuation<Answer, any Error>
    }

    private struct State {
        var waiting: [Waiting] = []
        var isRunning = false
        /// Of the last run.
        var pace: Pace?
    }

    /// - Parameters:
    ///   - commandsMax: commands of one transaction at the most.
    ///   - waitingMax: commands that may wait; one more is refused with `Overloaded`.
    ///   - pace: under load, the least time from the start of one transaction to the next, unless a full one waits.
    ///   - body: applies the commands and answers each, in their order. An error that it throws fails all of them.
    public init(
        relay: Relay, commandsMax: Int = 1000, waitingMax: Int = 20_000, pace: Duration = .milliseconds(10),
        body: @escaping Body
    ) {
        self.relay = relay
        self.commandsMax = commandsMax
        self.waitingMax = waitingMax
        self.pace = pace
        self.body = body
    }

    /// The command's answer, once it is committed.
    public func submit(_ command: Command) async throws -> Answer {
        try await withCheckedThrowingContinuation { continuation in
            let (isFull, mustRun) = state.withLock { state -> (Bool, Bool) in
                guard state.waiting.count < waitingMax else { return (true, false) }
                state.waiting.append(Waiting(command: command, continuation: continuation))
                defer { state.isRunning = true }
                return (false, !state.isRunning)
            }
            if isFull { continuation.resume(throwing: Overloaded()) }
            if mustRun { Task.detached { await self.run() } }
        }
    }

    private func run() async {
        var pace = state.withLock { $0.pace } ?? Pace(interval: self.pace, freeMax: Self.freeMax)
        while true {
            let group = state.withLock { state -> [Waiting] in
                let group = Array(state.waiting.prefix(commandsMax))
                state.waiting.removeFirst(group.count)
                if group.isEmpty {
                    state.isRunning = false
                    state.pace = pace
                }
                return group
            }
            if group.isEmpty { return }
            let next = pace.took(group.count, at: .now)
            let commands = group.map(\.command)
            do {
                let answers = try await relay.commit { try await self.body(commands, $0) }
                precondition(answers.count == group.count, "every command has an answer")
                for (waiting, answer) in zip(group, answers) { waiting.continuation.resume(with: answer) }
            } catch {
                for waiting in group { waiting.continuation.resume(throwing: error) }
            }
            if let next, state.withLock({ $0.waiting.count < commandsMax }) { try? await Task.sleep(until: next) }
        }
    }
}
