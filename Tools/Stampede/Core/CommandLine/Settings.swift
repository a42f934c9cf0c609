// Where the servers are: from the environment, else from the file that `make up` writes.
import Foundation
import Kafka

struct Settings: Sendable {
    private let values: [String: String]
    private let file: String

    /// The services, which each have a schema of their own.
    enum Service: String, CaseIterable, Sendable {
        case messaging, catalog, reservation, payment, notification
    }

    init(environment: [String: String], file: String?) throws(UsageError) {
        self.file = file ?? ".local/environment"
        var values: [String: String] = [:]
        if let text = try? String(contentsOfFile: self.file, encoding: .utf8) {
            for line in text.split(separator: "\n") {
                let parts = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                guard parts.count == 2 else { throw UsageError("\(self.file): expected NAME=VALUE, got '\(line)'") }
                values[String(parts[0])] = String(parts[1])
            }
        }
        self.values = values.merging(environment) { $1 }
    }

    /// The folder of that file: process numbers stand in its `run`.
    var folder: String { (file as NSString).deletingLastPathComponent }

    /// Nil where it is not set, or empty.
    func optionalValue(_ name: String) -> String? { values[name].flatMap { $0.isEmpty ? nil : $0 } }

    func value(_ name: String) throws(UsageError) -> String {
        guard let value = optionalValue(name) else {
            throw UsageError("\(name) is not set, and \(file) does not say it ('make up' writes it)")
        }
        return value
    }

    /// `STAMPEDE_KAFKA_SASL_MECHANISM=PLAIN` sets librdkafka's `sasl.mechanism`, as with the services.
    func kafka(clientID: String) throws(UsageError) -> KafkaConfiguration {
        let prefix = "STAMPEDE_KAFKA_"
        var properties: [String: String] = [:]
        for (name, value) in values where name.hasPrefix(prefix) {
            properties[name.dropFirst(prefix.count).lowercased().replacing("_", with: ".")] = value
        }
        return KafkaConfiguration(
            bootstrapServers: try value("KAFKA_BOOTSTRAP_SERVERS"), clientID: clientID, properties: properties)
    }

    func dsn(_ service: Service) throws(UsageError) -> String {
        try value("\(service.rawValue.uppercased())_POSTGRES_DSN")
    }
}
