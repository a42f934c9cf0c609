// The configuration of a program: declared keys, read from environment variables and checked before anything starts.
import Foundation
import Postgres

/// Values of declared keys, all checked. Asking for a key that was not declared, or by another kind than declared, is
/// the programmer's mistake and stops the program.
///
/// For every key `NAME` that is a secret, `NAME_FILE` may name a file to read it from instead. An empty value counts as
/// none.
public struct Configuration: Sendable {
    /// The prefix under which unknown names are refused.
    public static let prefix = "STAMPEDE_"
    /// `STAMPEDE_KAFKA_SASL_MECHANISM` sets librdkafka's property `sasl.mechanism`.
    public static let kafkaPrefix = "STAMPEDE_KAFKA_"
    fileprivate static let fileBytesMax = 64 << 10

    /// librdkafka's properties from `STAMPEDE_KAFKA_…`.
    public let kafkaProperties: [String: String]
    private let keys: [String: ConfigurationKey]
    private let values: [String: String]

    /// - Parameter environment: all variables of the process; those of other programs are left alone.
    public init(keys: [ConfigurationKey], environment: [String: String]) throws(ConfigurationError) {
        var reader = ConfigurationReader(keys: keys, environment: environment)
        reader.read()
        guard reader.problems.isEmpty else { throw ConfigurationError(reader.problems) }
        self.keys = reader.keys
        values = reader.values
        kafkaProperties = reader.kafkaProperties
    }

    public func string(_ name: String) -> String {
        guard let value = optionalString(name) else { preconditionFailure("\(name) has no value: declare a default") }
        return value
    }

    public func optionalString(_ name: String) -> String? {
        guard let key = keys[name] else { preconditionFailure("\(name) is not a declared configuration key") }
        precondition(key.kind != .secret, "\(name) is a secret: read it as one")
        return values[name]
    }

    public func integer(_ name: String) -> Int {
        guard let value = Int(string(name)) else { preconditionFailure("\(name) is not declared as an integer") }
        return value
    }

    public func number(_ name: String) -> Double {
        guard let value = ConfigurationKey.decimal(string(name)) else {
            preconditionFailure("\(name) is not declared as a number")
        }
        return value
    }

    public func boolean(_ name: String) -> Bool { string(name) == "true" }

    /// A key of kind `.seconds`, as a number.
    public func seconds(_ name: String) -> Double { number(name) }

    /// A key of kind `.seconds`.
    public func duration(_ name: String) -> Duration { .seconds(number(name)) }

    /// The parts of a `.list` without the spaces around them; none for no value.
    public func list(_ name: String) -> [String] {
        (optionalString(name) ?? "").split(separator: ",")
            .map { $0.trimmingCharacters(in: .whitespaces) }
            .filter { !$0.isEmpty }
    }

    public func secret(_ name: String) -> Secret {
        guard let secret = optionalSecret(name) else { preconditionFailure("\(name) has no value: require it") }
        return secret
    }

    public func optionalSecret(_ name: String) -> Secret? {
        precondition(keys[name]?.kind == .secret, "\(name) is not declared as a secret")
        return values[name].map { Secret($0) }
    }

    /// Every text that must not appear in a log: the secrets themselves and the passwords inside of DSNs.
    var secretTexts: [String] {
        var texts: [String] = []
        for (name, value) in values where keys[name]?.kind == .secret {
            texts.append(value)
            texts += DSN.passwords(in: value)
        }
        for (property, value) in kafkaProperties where ConfigurationReader.isSecret(property: property) {
            texts.append(value)
        }
        return texts
    }
}

/// Reads and checks; collects every problem instead of stopping at the first.
private struct ConfigurationReader {
    let environment: [String: String]
    let keys: [String: ConfigurationKey]
    var values: [String: String] = [:]
    var kafkaProperties: [String: String] = [:]
    var problems: [String] = []

    init(keys: [ConfigurationKey], environment: [String: String]) {
        self.environment = environment.filter { !$0.value.isEmpty }
        // Of two declarations the service's own, which comes later, wins: it may change a default.
        self.keys = Dictionary(keys.map { ($0.name, $0) }) { $1 }
    }

    mutating func read() {
        for key in keys.values.sorted(by: { $0.name < $1.name }) { read(key) }
        for name in environment.keys.sorted() where name.hasPrefix(Configuration.prefix) && !isDeclared(name) {
            if name.hasPrefix(Configuration.kafkaPrefix) { readKafkaProperty(name) } else { refuse(name) }
        }
    }

    private func isDeclared(_ name: String) -> Bool {
        keys[name] != nil || name.hasSuffix("_FILE") && keys[String(name.dropLast(5))]?.kind == .secret
    }

    private mutating func read(_ key: ConfigurationKey) {
        var given = environment[key.name]
        if key.kind == .secret, let path = environment[key.name + "_FILE"] {
            guard given == nil else {
                problems.append("\(key.name): set either it or \(key.name)_FILE, not both")
                return
            }
            given = readFile(path, for: key.name + "_FILE")
            if given == nil { return }
        }
        guard let value = given ?? key.defaultValue else {
            if key.isRequired { problems.append("\(key.name): required, expected \(key.expectation) (\(key.summary))") }
            return
        }
        guard key.accepts(value) else {
            problems.append("\(key.name): expected \(key.expectation), got \(Self.quoted(value))")
            return
        }
        values[key.name] = value
    }

    /// `STAMPEDE_KAFKA_SSL_CA_LOCATION` is `ssl.ca.location`. librdkafka checks names and values when a client is made.
    private mutating func readKafkaProperty(_ name: String) {
        func property(_ name: some StringProtocol) -> String {
            name.dropFirst(Configuration.kafkaPrefix.count).lowercased().replacing("_", with: ".")
        }
        let plain = property(name)
        if name.hasSuffix("_FILE"), Self.isSecret(property: property(name.dropLast(5))) {
            if let value = readFile(environment[name] ?? "", for: name) {
                kafkaProperties[property(name.dropLast(5))] = value
            }
        } else if plain.isEmpty {
            refuse(name)
        } else {
            kafkaProperties[plain] = environment[name]
        }
    }

    static func isSecret(property: String) -> Bool {
        property.hasSuffix("password") || property.hasSuffix("secret") || property.hasSuffix(".pem")
            || property == "sasl.oauthbearer.config"
    }

    /// The file's text without the newline that editors leave at its end.
    private mutating func readFile(_ path: String, for name: String) -> String? {
        guard let handle = FileHandle(forReadingAtPath: path),
            let data = try? handle.read(upToCount: Configuration.fileBytesMax + 1), !data.isEmpty
        else {
            problems.append("\(name): cannot read \(Self.quoted(path))")
            return nil
        }
        guard data.count <= Configuration.fileBytesMax, var text = String(validating: data, as: UTF8.self) else {
            problems.append("\(name): expected a file of text, at most \(Configuration.fileBytesMax) bytes")
            return nil
        }
        while text.last?.isNewline == true { text.removeLast() }
        return text
    }

    private mutating func refuse(_ name: String) {
        let candidates = keys.keys.filter { $0.hasPrefix(Configuration.prefix) }
            .map { (name: $0, distance: Self.distance($0, name)) }
        // A name that differs in more than two letters and a third is no misspelling.
        if let nearest = candidates.min(by: { ($0.distance, $0.name) < ($1.distance, $1.name) }),
            nearest.distance <= max(2, (nearest.name.count - Configuration.prefix.count) / 3)
        {
            problems.append("\(name): unknown; did you mean \(nearest.name)?")
        } else {
            problems.append("\(name): unknown; --help lists every key")
        }
    }

    private static func quoted(_ value: String) -> String {
        let short = value.count > 60 ? value.prefix(60) + "…" : value[...]
        return "\"" + String(short).replacing("\n", with: "\\n").replacing("\"", with: "\\\"") + "\""
    }

    /// How many characters must be inserted, removed or replaced to get from one text to the other (Levenshtein).
    private static func distance(_ a: String, _ b: String) -> Int {
        let b = Array(b.utf8.prefix(100))
        var row = Array(0...b.count)
        for (i, character) in a.utf8.enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for (j, other) in b.enumerated() {
                let replaced = diagonal + (character == other ? 0 : 1)
                diagonal = row[j + 1]
                row[j + 1] = min(replaced, row[j] + 1, diagonal + 1)
            }
        }
        return row[b.count]
    }
}
