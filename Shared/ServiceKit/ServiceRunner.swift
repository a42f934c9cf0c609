// A service from its first line of log to its last.
import HTTP
import Kafka
import Models
import Observability
import Postgres
import Runtime
import Synchronization

/// Starts a service, tells of its health, stops it. `Program` runs one for a process, `RunningService` for a test.
///
/// Start: the HTTP server first, so that health can be asked; then Postgres, Kafka and the service's components, each
/// when the one before is ready; then the routes open. Stop goes the other way.
package final class ServiceRunner<Running: Service>: Sendable {
    package let service: Running
    package let context: ServiceContext
    private let health: Health
    private let server: HTTPServer
    private let components: [any Component]
    /// A pool that cannot connect says so after 5 seconds, a broker that does not answer after 4.
    private static var attemptDurationMin: Duration { .seconds(6) }
    private let startDuration: Duration
    let drainDuration: Duration
    /// How many components were asked to start; those are stopped.
    private let begun = Mutex(0)

    /// Checks the configuration and puts the service together. Nothing is connected yet.
    package init(
        environment: [String: String], sink: LogSink, now: @escaping @Sendable () -> Timestamp = { .now() }
    ) throws(ConfigurationError) {
        let configuration = try Configuration(keys: Running.allConfigurationKeys, environment: environment)
        let instance = configuration.optionalString(StandardKeys.instance) ?? StandardKeys.standardInstance
        let level = LogLevel(configuration.string(StandardKeys.logLevel)) ?? .info
        let log = Logger(service: Running.name, level: level, metadata: ["instance": instance], sink: sink)
            .redacting(configuration.secretTexts)
        let metrics = Metrics()
        metrics.addProcessStatistics()
        metrics.gauge(
            "stampede_build_info", help: "1, labelled with what runs.",
            labels: ["service": Running.name, "version": Version.current]
        ).set(1)

        let health = Health(service: Running.name, instance: instance)
        self.health = health
        let tracer: Tracer
        let exporters: [any Component]
        if let endpoint = configuration.optionalString(StandardKeys.traceEndpoint) {
            tracer = Tracer(ratio: configuration.number(StandardKeys.traceRatio), metrics: metrics)
            exporters = [try Self.exporter(tracer, endpoint: endpoint, instance: instance, log: log)]
        } else {
            tracer = .off
            exporters = []
        }
        context = try Self.makeContext(
            configuration, instance: instance, log: log, metrics: metrics, tracer: tracer, now: now)
        do {
            service = try Running(context)
        } catch let error as ConfigurationError {
            throw error
        } catch {
            throw ConfigurationError(["\(error)".singleLine])
        }
        let routes =
            service.routes(now: now).map { $0.revalidated().guarded { try health.gate() } } + health.routes(metrics)
        let serverConfiguration = try Self.serverConfiguration(configuration)
        do {
            server = try HTTPServer(
                serverConfiguration, routes: routes, log: log, metrics: metrics, tracer: tracer,
                problem: ProblemMapping.problem)
        } catch {
            throw ConfigurationError(["HTTP: \(error)"])
        }
        components =
            exporters + [
                PostgresDependency(
                    context.postgres, schema: Running.name, migrations: Running.migrations, log: log),
                KafkaDependency(
                    context.producer, bootstrapServers: context.kafka.bootstrapServers, topics: service.topics, log: log
                ),
            ] + service.components
        health.setComponents(components)
        startDuration = configuration.duration(StandardKeys.startSeconds)
        drainDuration = configuration.duration(StandardKeys.drainSeconds)
    }

    private static func exporter(
        _ tracer: Tracer, endpoint: String, instance: String, log: Logger
    ) throws(ConfigurationError) -> SpanExporter {
        guard endpoint.contains(#/^https?://[^/]/#) else {
            throw ConfigurationError(["\(StandardKeys.traceEndpoint): expected http://host:port or https://host:port"])
        }
        do {
            return try SpanExporter(tracer, endpoint: endpoint, service: Running.name, instance: instance, log: log)
        } catch {
            throw ConfigurationError(["\(StandardKeys.traceEndpoint): \(error)"])
        }
    }

    private static func makeContext(
        _ configuration: Configuration, instance: String, log: Logger, metrics: Metrics, tracer: Tracer,
        now: @escaping @Sendable () -> Timestamp
    ) throws(ConfigurationError) -> ServiceContext {
        let kafka = KafkaConfiguration(
            bootstrapServers: configuration.string(StandardKeys.bootstrapServers),
            clientID: "\(Running.name)/\(instance)", properties: configuration.kafkaProperties)
        if let caution = kafka.caution { log.warning("Kafka may not let this service in", ["reason": caution]) }
        let producer: KafkaProducer
        do {
            producer = try KafkaProducer(kafka, log: log, metrics: metrics)
        } catch {
            throw ConfigurationError(["\(Configuration.kafkaPrefix)…: \(error.message)".singleLine])
        }
        let postgres = try configuration.postgresPool(
            "\(Running.name)/\(instance)", findsByIndex: true, log: log, metrics: metrics)
        return ServiceContext(
            serviceName: Running.name, instance: instance,
            lastingInstance: configuration.optionalString(StandardKeys.instance), configuration: configuration,
            log: log, metrics: metrics, tracer: tracer, postgres: postgres, kafka: kafka, producer: producer, now: now)
    }

    private static func serverConfiguration(
        _ configuration: Configuration
    ) throws(ConfigurationError) -> HTTPServerConfiguration {
        var server = HTTPServerConfiguration(
            address: configuration.string(StandardKeys.httpAddress),
            port: UInt16(configuration.integer(StandardKeys.httpPort)))
        server.threads = configuration.integer(StandardKeys.httpThreads)
        server.connectionsMax = configuration.integer(StandardKeys.httpConnections)
        server.requestsMax = configuration.integer(StandardKeys.httpRequests)
        server.streamsMax = configuration.integer(StandardKeys.httpStreams)
        server.connectionsPerAddressMax = configuration.integer(StandardKeys.httpAddressConnections)
        server.callerRequestsPerSecondMax = configuration.integer(StandardKeys.httpAccountRate)
        do {
            server.trustedProxies = try TrustedProxies(configuration.list(StandardKeys.httpTrustedProxies))
        } catch {
            throw ConfigurationError(["\(StandardKeys.httpTrustedProxies): \(error)"])
        }
        return server
    }

    /// Returns the HTTP port when all is ready. When it throws, `stop` is still to be called.
    package func start() async throws(StartFailure) -> UInt16 {
        let clock = ContinuousClock()
        let began = clock.now
        let deadline = began + startDuration
        let port: UInt16
        do {
            port = try server.start()
        } catch {
            throw Self.cannotListen(error)
        }
        context.log.info(
            "starting",
            [
                "version": Version.current,
                "http": "\(context.configuration.string(StandardKeys.httpAddress)):\(port)",
            ])
        for index in components.indices {
            begun.withLock { $0 = index + 1 }
            try await start(index, until: deadline)
        }
        health.setPhase(.ready)
        context.log.info("ready", ["seconds": "\((clock.now - began).inSeconds)"])
        return port
    }

    private func start(_ index: Int, until deadline: ContinuousClock.Instant) async throws(StartFailure) {
        let component = components[index]
        var backoff = Backoff(isJittered: true)
        health.setStarting(index)
        while true {
            // An attempt that is under way may end and say what is wrong, also a little after the time.
            let outcome = await within(max(deadline - .now, Self.attemptDurationMin)) { () -> Result<Void, any Error> in
                do { return .success(try await component.start()) } catch { return .failure(error) }
            }
            if Task.isCancelled { throw Self.interrupted }
            switch outcome {
            case .success: return health.setStarted(index)
            case nil: throw unavailable("\(component.name) was not ready in time")
            case .failure(let error):
                switch StartError(error) {
                case .final(let reason, let exitCode):
                    let named = exitCode == ExitCode.failure ? "\(component.name): \(reason)" : reason
                    throw StartFailure(exitCode: exitCode, reason: named)
                case .waiting(let reason, let exitCode):
                    let pause = backoff.next()
                    guard ContinuousClock.now + pause < deadline else { throw unavailable(reason, exitCode) }
                    health.setStarting(index, waitingFor: reason)
                    context.log.warning(
                        "waiting for what this service needs",
                        ["component": component.name, "reason": reason, "next_try_seconds": "\(pause.inSeconds)"])
                    try? await Task.sleep(for: pause)
                    if Task.isCancelled { throw Self.interrupted }
                }
            }
        }
    }

    private static var interrupted: StartFailure {
        StartFailure(exitCode: ExitCode.success, reason: "interrupted while starting")
    }

    private static func cannotListen(_ error: HTTPError) -> StartFailure {
        if case .invalidAddress = error {
            return StartFailure(
                exitCode: ExitCode.configuration,
                reason: "\(StandardKeys.httpAddress): expected a literal IPv4 or IPv6 address: \(error)")
        }
        return StartFailure(
            exitCode: ExitCode.system,
            reason: "\(error): stop what listens there, or choose another by \(StandardKeys.httpPort) and "
                + StandardKeys.httpAddress)
    }

    private func unavailable(_ reason: String, _ exitCode: Int32 = ExitCode.unavailable) -> StartFailure {
        StartFailure(
            exitCode: exitCode,
            reason: "\(reason) (waited \(startDuration.inSeconds) s: \(StandardKeys.startSeconds))")
    }

    /// Ends what runs, in the reverse order of the start. Whether all of it ended within the drain time.
    @discardableResult
    package func stop() async -> Bool {
        health.setPhase(.draining)
        let deadline = ContinuousClock.now + drainDuration
        context.log.info("draining", ["seconds_max": "\(drainDuration.inSeconds)"])
        // Requests that do not end leave the components the other half.
        await server.drain(withinSeconds: drainDuration.inSeconds / 2)
        var allEnded = true
        func end(_ name: String, _ work: @escaping @Sendable () async -> Void) async {
            if await within(max(deadline - .now, .zero), work) != nil { return }
            allEnded = false
            context.log.error("did not stop in time", ["component": name])
        }
        for index in (0..<begun.withLock { $0 }).reversed() {
            let component = components[index]
            await end(component.name) { await component.stop() }
            health.setStopped(index)
        }
        let (producer, postgres) = (context.producer, context.postgres)
        let producerSeconds = max(0, (deadline - .now).inSeconds)
        await end("producer") { await producer.close(timeoutSeconds: producerSeconds) }
        await end("connections") { await postgres.close() }
        context.log.info("stopped")
        return allEnded
    }
}
