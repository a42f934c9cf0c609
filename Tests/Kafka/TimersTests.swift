// What a client of librdkafka that does nothing costs.
import CRdKafka
import Foundation
import Testing

@testable import Kafka

@Suite(.timeLimit(.minutes(1))) struct TimersTests {
    /// Another thread's slack is for root to read.
    @Test(.enabled(if: geteuid() == 0))
    func aClientsTimersNeedNotBePunctual() throws {
        let handle = try KafkaHandle(
            RD_KAFKA_PRODUCER, KafkaConfiguration(bootstrapServers: "127.0.0.1:9", clientID: "timers"), log: nil)
        var slacks: [String] = []
        // The thread names itself when it has begun, a moment before it is told.
        while slacks.isEmpty || slacks.contains(where: { $0 != "20000000" }) { slacks = mainThreads() }
        withExtendedLifetime(handle) {}
    }

    private func mainThreads() -> [String] {
        let tasks = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/task")) ?? []
        return tasks.compactMap { task in
            guard let name = try? String(contentsOfFile: "/proc/\(task)/comm", encoding: .utf8), name == "rdk:main\n"
            else { return nil }
            return try? String(contentsOfFile: "/proc/\(task)/timerslack_ns", encoding: .utf8).trimmingCharacters(
                in: .whitespacesAndNewlines)
        }
    }
}
