// librdkafka's client object: made from checked properties, its log sent to ours, freed when nobody holds it.
import CRdKafka
import Dispatch
import Observability
import Synchronization

/// `@unchecked Sendable`: an `rd_kafka_t` may be used from any thread; nothing else here changes after `init` but an
/// atomic.
final class KafkaHandle: @unchecked Sendable {
    let pointer: OpaquePointer
    /// False: the client stays when nobody holds it any more, because freeing it would end the program.
    private let canBeFreed = Atomic(true)
    private let sink: Unmanaged<LogSink>
    /// Whether freeing it first leaves the group: a client that is beyond repair would only wait.
    private let closesFirst = Atomic(true)

    /// - Parameters:
    ///   - fixed: properties that the module's promises rest on; the configuration may not say otherwise.
    ///   - defaults: properties that the configuration may replace.
    ///   - events: which of librdkafka's events come through queues (`RD_KAFKA_EVENT_…`).
    init(
        _ kind: rd_kafka_type_t, _ configuration: KafkaConfiguration, fixed: [String: String] = [:],
        defaults: [String: String] = [:], events: Int32 = 0, log: Logger?
    ) throws(KafkaError) {
        var properties = Self.comesBackSoon.merging(defaults) { $1 }
        if !configuration.bootstrapServers.isEmpty {
            properties["bootstrap.servers"] = configuration.bootstrapServers
        }
        properties["client.id"] = configuration.clientID
        properties["log.connection.close"] = "false"
        properties["socket.nagle.disable"] = "true"
        for (name, value) in configuration.properties {
            if let needed = fixed[name], needed != value {
                throw .invalid("\(name) is \(needed) in this client and cannot be \(value)")
            }
            properties[name] = value
        }
        properties.merge(fixed) { $1 }

        guard let settings = rd_kafka_conf_new() else { throw KafkaError(RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE) }
        var text = [CChar](repeating: 0, count: 512)
        for (name, value) in properties {
            guard rd_kafka_conf_set(settings, name, value, &text, text.count) == RD_KAFKA_CONF_OK else {
                rd_kafka_conf_destroy(settings)
                throw .invalid(Self.string(text))
            }
        }
        let sink = Unmanaged.passRetained(LogSink(log))
        rd_kafka_conf_set_opaque(settings, sink.toOpaque())
        rd_kafka_conf_set_log_cb(settings, LogSink.write)
        rd_kafka_conf_set_events(settings, events)
        guard let pointer = rd_kafka_new(kind, settings, &text, text.count) else {
            rd_kafka_conf_destroy(settings)
            sink.release()
            throw KafkaError(rd_kafka_last_error(), Self.string(text))
        }
        self.pointer = pointer
        self.sink = sink
    }

    /// Librdkafka's own defaults let a broker that is back wait for ten seconds, and one that fell silent for sixty.
    private static let comesBackSoon = [
        "reconnect.backoff.max.ms": "1000", "socket.timeout.ms": "10000", "socket.keepalive.enable": "true",
    ]

    /// Librdkafka before 2.3.0 fails an assertion when a member of a group is freed that has joined and was not given an
    /// assignment yet (confluentinc/librdkafka#4312). Few are, at the end of a program: they are left to the system.
    func joinsGroup() {
        if rd_kafka_version() < 0x0203_0000 { canBeFreed.store(false, ordering: .relaxed) }
    }

    func isBroken() { closesFirst.store(false, ordering: .relaxed) }

    func gotAssignment() { canBeFreed.store(true, ordering: .relaxed) }

    deinit {
        guard canBeFreed.load(ordering: .relaxed) else { return }
        // Waits for librdkafka's threads: never on a thread that tasks run on.
        let pointer = UInt(bitPattern: pointer)
        let sink = UInt(bitPattern: sink.toOpaque())
        let flags = closesFirst.load(ordering: .relaxed) ? 0 : Int32(RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE)
        DispatchQueue.global().async {
            guard let pointer = OpaquePointer(bitPattern: pointer), let sink = UnsafeRawPointer(bitPattern: sink)
            else { return }
            rd_kafka_destroy_flags(pointer, flags)
            Unmanaged<LogSink>.fromOpaque(sink).release()
        }
    }

    static func string(_ text: [CChar]) -> String {
        String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// The error that ended this client, if one has.
    var fatalError: KafkaError? {
        var text = [CChar](repeating: 0, count: 512)
        let code = rd_kafka_fatal_error(pointer, &text, text.count)
        return code == RD_KAFKA_RESP_ERR_NO_ERROR ? nil : KafkaError(code, Self.string(text), isFatal: true)
    }
}

extension KafkaConfiguration {
    /// What is known not to work with the librdkafka that this program runs with; nil where nothing is.
    public var caution: String? {
        let mechanism = properties["sasl.mechanism"] ?? properties["sasl.mechanisms"] ?? ""
        // confluentinc/librdkafka#4895
        guard mechanism.hasPrefix("SCRAM-"), rd_kafka_version() < 0x0206_0100 else { return nil }
        let version = rd_kafka_version_str().map { String(cString: $0) } ?? ""
        return "Kafka 4 and newer refuse \(mechanism) of librdkafka \(version), whatever the password; 2.6.1 is right"
    }
}

/// Where librdkafka's own log lines go.
private final class LogSink: Sendable {
    private let log: Logger?

    init(_ log: Logger?) { self.log = log }

    /// Called on librdkafka's threads.
    static let write: @convention(c) (OpaquePointer?, Int32, UnsafePointer<CChar>?, UnsafePointer<CChar>?) -> Void = {
        handle, level, facility, text in
        guard let handle, let opaque = rd_kafka_opaque(handle) else { return }
        guard let log = Unmanaged<LogSink>.fromOpaque(opaque).takeUnretainedValue().log else { return }
        let facts = [
            "facility": facility.map { String(cString: $0) } ?? "", "text": text.map { String(cString: $0) } ?? "",
        ]
        // syslog's levels: 3 is an error, 4 a warning
        switch level {
        case ...3: log.error("Kafka client", facts)
        case 4: log.warning("Kafka client", facts)
        case 5, 6: log.info("Kafka client", facts)
        default: log.debug("Kafka client", facts)
        }
    }
}

/// Runs a call that blocks on a thread where that harms nobody.
func blocking<R: Sendable>(_ call: @escaping @Sendable () throws(KafkaError) -> R) async throws(KafkaError) -> R {
    let result: Result<R, KafkaError> = await withCheckedContinuation { continuation in
        DispatchQueue.global().async {
            do throws(KafkaError) {
                continuation.resume(returning: .success(try call()))
            } catch {
                continuation.resume(returning: .failure(error))
            }
        }
    }
    return try result.get()
}
