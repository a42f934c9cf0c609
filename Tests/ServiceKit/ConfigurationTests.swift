import Foundation
import Testing

@testable import ServiceKit

@Suite struct ConfigurationTests {
    static let keys: [ConfigurationKey] = [
        .init("STAMPEDE_NAME", "A name", default: "nobody"),
        .init("STAMPEDE_COUNT", "A count", .integer(1...10), default: "3"),
        .init("STAMPEDE_SHARE", "A share", .number(0...1), default: "0.5"),
        .init("STAMPEDE_ON", "A switch", .boolean, default: "false"),
        .init("STAMPEDE_WAIT_SECONDS", "A wait", .seconds(0.5...60), default: "2.5"),
        .init("STAMPEDE_PASSWORD", "A secret", .secret),
        .init("STAMPEDE_COLOUR", "A choice", .choice(["red", "green"]), default: "red"),
        .init("STAMPEDE_HOSTS", "A list", .list),
        .init("KAFKA_BOOTSTRAP_SERVERS", "Kafka", required: true),
    ]

    func read(_ environment: [String: String]) throws(ConfigurationError) -> Configuration {
        try Configuration(
            keys: Self.keys, environment: environment.merging(["KAFKA_BOOTSTRAP_SERVERS": "k:1"]) { a, _ in a })
    }

    func problems(_ environment: [String: String]) -> [String] {
        do {
            _ = try read(environment)
            return []
        } catch { return error.problems }
    }

    @Test func whatIsNotSetHasItsDefault() throws {
        let configuration = try read([:])
        #expect(configuration.string("STAMPEDE_NAME") == "nobody")
        #expect(configuration.integer("STAMPEDE_COUNT") == 3)
        #expect(configuration.number("STAMPEDE_SHARE") == 0.5)
        #expect(configuration.boolean("STAMPEDE_ON") == false)
        #expect(configuration.duration("STAMPEDE_WAIT_SECONDS") == .milliseconds(2500))
        #expect(configuration.seconds("STAMPEDE_WAIT_SECONDS") == 2.5)
        #expect(configuration.optionalSecret("STAMPEDE_PASSWORD") == nil)
        #expect(configuration.string("STAMPEDE_COLOUR") == "red")
        #expect(configuration.list("STAMPEDE_HOSTS") == [])
        #expect(configuration.optionalString("STAMPEDE_HOSTS") == nil)
    }

    @Test func whatIsSetIsRead() throws {
        let configuration = try read([
            "STAMPEDE_NAME": "é", "STAMPEDE_COUNT": "10", "STAMPEDE_ON": "true", "STAMPEDE_WAIT_SECONDS": "60",
            "STAMPEDE_PASSWORD": "open sesame", "STAMPEDE_COLOUR": "green", "STAMPEDE_HOSTS": " a, b ,,c",
            "STAMPEDE_SHARE": "1",
        ])
        #expect(configuration.string("STAMPEDE_NAME") == "é")
        #expect(configuration.integer("STAMPEDE_COUNT") == 10)
        #expect(configuration.boolean("STAMPEDE_ON"))
        #expect(configuration.duration("STAMPEDE_WAIT_SECONDS") == .seconds(60))
        #expect(configuration.secret("STAMPEDE_PASSWORD").value == "open sesame")
        #expect(configuration.string("STAMPEDE_COLOUR") == "green")
        #expect(configuration.list("STAMPEDE_HOSTS") == ["a", "b", "c"])
        #expect(configuration.number("STAMPEDE_SHARE") == 1)
    }

    @Test(arguments: [
        ("STAMPEDE_COUNT", "0", "an integer from 1 to 10"), ("STAMPEDE_COUNT", "11", "an integer from 1 to 10"),
        ("STAMPEDE_COUNT", "3.0", "an integer from 1 to 10"), ("STAMPEDE_COUNT", "three", "an integer from 1 to 10"),
        ("STAMPEDE_COUNT", "99999999999999999999", "an integer from 1 to 10"),
        ("STAMPEDE_COUNT", " 3", "an integer from 1 to 10"), ("STAMPEDE_SHARE", "1.1", "a number from 0 to 1"),
        ("STAMPEDE_SHARE", "nan", "a number from 0 to 1"), ("STAMPEDE_SHARE", "0x1p-1", "a number from 0 to 1"),
        ("STAMPEDE_SHARE", "1e-3", "a number from 0 to 1"), ("STAMPEDE_SHARE", "-", "a number from 0 to 1"),
        ("STAMPEDE_ON", "yes", "true or false"), ("STAMPEDE_ON", "TRUE", "true or false"),
        ("STAMPEDE_WAIT_SECONDS", "0.4", "seconds, from 0.5 to 60"),
        ("STAMPEDE_WAIT_SECONDS", "inf", "seconds, from 0.5 to 60"),
        ("STAMPEDE_WAIT_SECONDS", "10s", "seconds, from 0.5 to 60"),
        ("STAMPEDE_COLOUR", "blue", "one of red, green"),
    ])
    func aValueOutOfItsKindIsNamedWithWhatWasExpected(name: String, value: String, expected: String) {
        #expect(problems([name: value]) == ["\(name): expected \(expected), got \"\(value)\""])
    }

    @Test(arguments: [
        ("STAMPEDE_COUNTS", "STAMPEDE_COUNT"), ("STAMPEDE_CUONT", "STAMPEDE_COUNT"),
        ("STAMPEDE_WAIT_SECOND", "STAMPEDE_WAIT_SECONDS"), ("STAMPEDE_COLOR", "STAMPEDE_COLOUR"),
    ])
    func aMisspeltNameIsRefusedAndTheNearestNamed(name: String, nearest: String) {
        #expect(problems([name: "1"]) == ["\(name): unknown; did you mean \(nearest)?"])
    }

    @Test func aNameThatIsNearNoneIsRefused() {
        #expect(problems(["STAMPEDE_XYZZY_PLUGH": "1"]) == ["STAMPEDE_XYZZY_PLUGH: unknown; --help lists every key"])
        #expect(problems(["STAMPEDE_": "1"]).count == 1)
    }

    @Test func whatIsMissingIsNamed() {
        #expect(throws: ConfigurationError(["KAFKA_BOOTSTRAP_SERVERS: required, expected a text (Kafka)"])) {
            try Configuration(keys: Self.keys, environment: [:])
        }
    }

    @Test func anEmptyValueCountsAsNone() throws {
        #expect(try read(["STAMPEDE_COUNT": ""]).integer("STAMPEDE_COUNT") == 3)
        #expect(problems(["KAFKA_BOOTSTRAP_SERVERS": ""]).count == 1)
        #expect(problems(["STAMPEDE_NO_SUCH_THING": ""]) == [])
    }

    @Test func everyProblemIsReportedAtOnce() {
        let found = problems([
            "STAMPEDE_COUNT": "0", "STAMPEDE_ON": "1", "STAMPEDE_NAMES": "x", "KAFKA_BOOTSTRAP_SERVERS": "",
        ])
        #expect(found.count == 4)
    }

    @Test func otherProgramsVariablesAreLeftAlone() throws {
        _ = try read(["PATH": "/bin", "KAFKA_HOME": "/opt", "STAMPEDEX": "1", "stampede_count": "1"])
    }

    @Test func aProblemIsOneLineWhateverTheValueHolds() {
        let found = problems(["STAMPEDE_COUNT": "1\n2\"" + String(repeating: "x", count: 10_000)])
        #expect(found.count == 1)
        #expect(!found[0].contains("\n"))
        #expect(found[0].count < 200)
    }

    @Test func aSecretMayComeFromAFile() throws {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try Data("from the file\n".utf8).write(to: file)
        defer { try? FileManager.default.removeItem(at: file) }
        #expect(try read(["STAMPEDE_PASSWORD_FILE": file.path]).secret("STAMPEDE_PASSWORD").value == "from the file")
        #expect(
            problems(["STAMPEDE_PASSWORD_FILE": file.path, "STAMPEDE_PASSWORD": "x"])
                == ["STAMPEDE_PASSWORD: set either it or STAMPEDE_PASSWORD_FILE, not both"])
        // Only secrets are read from files.
        #expect(problems(["STAMPEDE_NAME_FILE": file.path]).count == 1)
        #expect(
            try read(["STAMPEDE_KAFKA_SASL_PASSWORD_FILE": file.path]).kafkaProperties
                == ["sasl.password": "from the file"])
    }

    @Test func aFileThatCannotBeReadIsNamed() throws {
        #expect(
            problems(["STAMPEDE_PASSWORD_FILE": "/no/such/file"])
                == ["STAMPEDE_PASSWORD_FILE: cannot read \"/no/such/file\""])
        #expect(problems(["STAMPEDE_PASSWORD_FILE": "/"]).count == 1)
        // Larger than any secret, and without an end.
        #expect(problems(["STAMPEDE_PASSWORD_FILE": "/dev/zero"]).count == 1)
    }

    @Test func propertiesOfLibrdkafkaPassThrough() throws {
        let configuration = try read([
            "STAMPEDE_KAFKA_SASL_MECHANISM": "PLAIN", "STAMPEDE_KAFKA_SSL_CA_LOCATION": "/ca.pem",
            "STAMPEDE_KAFKA_LINGER_MS": "5",
        ])
        #expect(
            configuration.kafkaProperties
                == ["sasl.mechanism": "PLAIN", "ssl.ca.location": "/ca.pem", "linger.ms": "5"])
        #expect(problems(["STAMPEDE_KAFKA_": "x"]).count == 1)
    }

    @Test func secretsAreNotQuotedInErrorsAndNotPrinted() throws {
        let key = ConfigurationKey("STAMPEDE_PASSWORD", "A secret", .secret, required: true)
        #expect(throws: ConfigurationError(["STAMPEDE_PASSWORD: required, expected a secret (A secret)"])) {
            try Configuration(keys: [key], environment: [:])
        }
        let secret = Secret("open sesame")
        var dumped = ""
        dump(secret, to: &dumped)
        #expect("\(secret)" == "***")
        #expect(String(reflecting: secret) == "***")
        #expect(!dumped.contains("sesame"))
        #expect(!"\([secret])".contains("sesame"))
    }

    @Test func thePasswordInsideOfADSNIsASecretToo() throws {
        let key = ConfigurationKey("STAMPEDE_DSN", "A DSN", .secret, required: true)
        let dsn = "postgresql://user:pass%20word@host/db"
        let configuration = try Configuration(keys: [key], environment: ["STAMPEDE_DSN": dsn])
        #expect(Set(configuration.secretTexts) == [dsn, "pass%20word", "pass word"])
    }

    @Test func theLaterDeclarationWins() throws {
        let keys = Self.keys + [ConfigurationKey("STAMPEDE_COUNT", "A count", .integer(1...100), default: "50")]
        let configuration = try Configuration(keys: keys, environment: ["KAFKA_BOOTSTRAP_SERVERS": "k:1"])
        #expect(configuration.integer("STAMPEDE_COUNT") == 50)
    }

    @Test func helpShowsEveryKeyOnceWithItsStandingAndNoSecret() throws {
        let keys = Self.keys + [ConfigurationKey("STAMPEDE_TOKEN", "A token.", .secret, default: "hidden")]
        let help = HelpText.text(name: "thing", summary: "Does things.", keys: keys + [keys[1]])
        let lines = help.split(separator: "\n")
        for key in keys {
            let found = lines.filter { $0.hasPrefix("  \(key.name) ") }
            let line = try #require(found.first)
            #expect(found.count == 1)
            #expect(line.contains(key.summary.prefix(6)))
            if key.isRequired { #expect(line.contains("required")) }
            if key.kind != .secret, let standard = key.defaultValue { #expect(line.contains(standard)) }
        }
        #expect(!help.contains("hidden"))
        #expect(help.hasPrefix("thing \(Version.current): Does things.\n"))
        #expect(lines.allSatisfy { $0.count <= 120 })
    }
}
