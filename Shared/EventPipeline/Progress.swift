// How far a processor has come in each of its partitions, and what it is behind.
import Kafka
import Models
import Observability
import Synchronization

/// What operators are told of a processor's backlog. Updated by the partitions' tasks and by whoever asks the broker
/// where the logs end.
final class Progress: Sendable {
    private struct Partition {
        /// The next offset that is not applied yet; `PipelineSchema.beginning` before the first.
        var next: Int64
        var log: (low: Int64, high: Int64) = (0, 0)
        /// The log's time of the first record of the batch at work.
        var atWorkSince: Timestamp?
        /// When records were first seen waiting while no batch was at work.
        var waitingSince: Timestamp?

        var lag: Int64 { max(0, log.high - max(next, log.low)) }
    }

    private let partitions = Mutex<[Int32: Partition]>([:])

    /// The partition is this instance's from now on.
    func began(_ partition: Int32, next: Int64) {
        partitions.withLock { $0[partition] = Partition(next: next) }
    }

    /// A batch of the partition is at work.
    func took(_ partition: Int32, firstAt time: Timestamp) {
        partitions.withLock { $0[partition]?.atWorkSince = time }
    }

    func applied(_ partition: Int32, next: Int64) {
        partitions.withLock {
            $0[partition]?.next = next
            $0[partition]?.atWorkSince = nil
            $0[partition]?.waitingSince = nil
        }
    }

    func ended(_ partition: Int32) { _ = partitions.withLock { $0.removeValue(forKey: partition) } }

    /// This instance's partitions.
    var own: [Int32] { partitions.withLock { $0.keys.sorted() } }

    /// Notes where the logs begin and end now.
    func observe(_ logs: [Int32: (low: Int64, high: Int64)], now: Timestamp) {
        partitions.withLock { partitions in
            for (partition, log) in logs {
                partitions[partition]?.log = log
                guard let seen = partitions[partition] else { continue }
                if seen.lag == 0 {
                    partitions[partition]?.waitingSince = nil
                } else if seen.waitingSince == nil {
                    partitions[partition]?.waitingSince = now
                }
            }
        }
    }

    /// Records that are in the log and not applied, by partition.
    var lags: [(partition: Int32, records: Int64)] {
        partitions.withLock { partitions in
            partitions.sorted { $0.key < $1.key }.map { ($0.key, $0.value.lag) }
        }
    }

    /// How long ago the oldest record that is not applied came into the log: by the log's time where it is at work,
    /// otherwise since it was first seen waiting. Zero where nothing waits.
    func oldestSeconds(now: Timestamp) -> Double {
        let oldest = partitions.withLock { $0.values.compactMap { $0.atWorkSince ?? $0.waitingSince }.min() }
        return oldest.map { max(0, Double(now.microseconds - $0.microseconds) / 1_000_000) } ?? 0
    }
}
