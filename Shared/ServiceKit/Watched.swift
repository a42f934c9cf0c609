// Repeated work that operators hear of when it fails.
import Runtime

extension Periodic {
    /// Work whose failures are counted, and logged when they begin and when they end.
    /// - Parameters:
    ///   - name: what the metric and the log call it: "stock watch".
    public static func watched(
        _ name: String, every interval: Duration?, runsAtOnce: Bool = true, shortestRetry: Duration = .zero,
        _ context: ServiceContext, _ body: @escaping @Sendable () async throws -> Void
    ) -> Periodic {
        let failures = context.metrics.counter(
            "stampede_work_failures_total", help: "Runs of repeated work that failed and are tried again",
            labels: ["work": name])
        let log = context.log
        return Periodic(
            every: interval, runsAtOnce: runsAtOnce, shortestRetry: shortestRetry,
            told: { outcome in
                switch outcome {
                case .failed(let error, let isFirst):
                    failures.add()
                    if isFirst {
                        log.warning("repeated work fails and is tried again", ["work": name, "error": "\(error)"])
                    }
                case .recovered: log.info("repeated work succeeds again", ["work": name])
                }
            }, body)
    }
}
