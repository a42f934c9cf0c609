// docker-compose.yml and the Dockerfile against the project. That they work, `make compose-test` proves.
import Foundation
import TestSupport
import Testing

@testable import StampedeCore

@Suite struct ComposeTests {
    private let compose: DocumentTree
    private let services: [String: DocumentTree]
    private let dockerfile: String
    private static let programs = Settings.Service.allCases.map(\.rawValue)
    private static let jobs = ["secrets", "database", "site", "migrate", "topics"]
    private static let others = ["gateway", "kafka", "postgres"]

    init() throws {
        compose = try Repository.yaml("docker-compose.yml")
        services = compose["services"]?.members ?? [:]
        dockerfile = try Repository.text("Dockerfile")
    }

    @Test func itHoldsWhatItShouldAndNothingElse() throws {
        #expect(Set(services.keys) == Set(Self.programs + Self.jobs + Self.others + ["stampede"]))
        let images = services.compactMapValues { $0["image"]?.string }
        for name in Self.programs + ["stampede", "secrets", "site", "topics"] { #expect(images[name] == "stampede") }
        // Built once: two builds of one image are two images, and compose would take a second `up` for a change.
        #expect(services.filter { $0.value["build"] != nil }.keys.sorted() == ["secrets"])
        #expect(services["secrets"]?["build"]?.string == ".")
        #expect(images["kafka"] == "apache/kafka:4.3.1")
        #expect(images["postgres"] == "postgres:17" && images["database"] == "postgres:17")
        #expect(images["gateway"] == "nginx:1.28")
        let readme = try Repository.text("README.md")
        for image in Set(images.values) { #expect(readme.contains("`\(image)`"), "the README does not name \(image)") }
        #expect(services["stampede"]?["profiles"]?.strings == ["tools"])
    }

    @Test func whatTheReadmeShowsIsWhatTheProofRuns() throws {
        let proof = try Repository.text("scripts/compose-test")
        let shown = try Repository.text("README.md").matches(of: /\ndocker compose ([^#\n]*)/).map { match in
            // How many orders there are is another matter.
            match.1.split(separator: ">")[0].replacing(/stampede (rush|audit).*/, with: "stampede")
                .trimmingCharacters(in: .whitespaces)
        }
        #expect(shown.count >= 5)
        for command in shown { #expect(proof.contains("compose \(command)"), "\(command)") }
    }

    @Test(arguments: programs + jobs + others + ["stampede"])
    func everyContainerIsConfinedAndBounded(name: String) throws {
        let service = try #require(services[name])
        // Kafka's image writes its settings into its own root.
        #expect(service["read_only"]?.boolean == (name != "kafka"))
        #expect(service["cap_drop"]?.strings == ["ALL"] && service["cap_add"] == nil)
        #expect(service["security_opt"]?.strings == ["no-new-privileges:true"])
        #expect(service["privileged"] == nil)
        let limits = service.at("deploy", "resources", "limits")
        #expect(limits?["memory"]?.string?.contains(/^[0-9]+[mg]$/) == true)
        #expect(limits?["pids"]?.integer ?? 0 > 0)
        #expect(service.at("logging", "options", "max-size") != nil)
        // Images that would start as root are told not to; the Dockerfile's and Kafka's do not.
        if ["gateway", "postgres", "database"].contains(name) { #expect(service["user"]?.string != nil) }
        #expect(service["user"]?.string?.hasPrefix("0") != true && service["user"]?.string != "root")
        for port in service["ports"]?.strings ?? [] { #expect(port.hasPrefix("127.0.0.1:"), "\(port)") }
        for (variable, value) in service["environment"]?.members ?? [:] {
            let isSecret = ["PASSWORD", "SECRET", "DSN"].contains { variable.hasSuffix($0) }
            #expect(!isSecret, "\(variable)=\(value) stands in the file")
        }
    }

    @Test(arguments: zip(programs, [8081, 8082, 8083, 8084, 8085]))
    func everyServiceIsConfiguredAsItUnderstands(name: String, port: Int) throws {
        let service = try #require(services[name])
        #expect(service["command"]?.strings == [name])
        #expect(service["user"]?.string == name, "each has a user of its own, for its secrets")
        #expect(service["restart"]?.string == "unless-stopped")
        #expect(service["ports"] == nil && service["container_name"] == nil, "it could not be scaled")
        #expect(service["depends_on"]?.members.keys.sorted() == ["migrate", "topics"])
        let environment = service["environment"]?.members ?? [:]
        #expect(environment["STAMPEDE_HTTP_PORT"]?.string == "\(port)")
        #expect(environment["STAMPEDE_POSTGRES_DSN_FILE"]?.string == "/secrets/\(name).dsn")
        #expect(environment["KAFKA_BOOTSTRAP_SERVERS"] != nil)
        let known = try Documented.settings()
        let kind = try #require(Settings.Service(rawValue: name))
        for variable in environment.keys { #expect(Documented.knows(kind, variable, known), "\(variable)") }
        #expect(environment["STAMPEDE_OPERATOR_SECRET_FILE"] != nil || name != "messaging")
        #expect((environment["STAMPEDE_ORDER_SECRET_FILE"] != nil) == (name == "messaging"))
        #expect((environment["STAMPEDE_PUBLISHERS_FILE"] != nil) == (name == "reservation"))
        // A service drains for 10 s before it is killed.
        let grace = service["stop_grace_period"]?.string.flatMap { Int($0.dropLast()) }
        #expect(grace ?? 0 > 10)
        // The image's own check: no other, and not switched off.
        #expect(service["healthcheck"] == nil)
        // The gateway finds it there.
        let gateway = try Repository.text("deploy/nginx/gateway")
        #expect(gateway.contains("[\(name)]=\(port)") || name == "notification")
        // The port is the one that the single machine has.
        #expect(try Repository.text("scripts/lib.sh").contains("${\(name.uppercased())_PORT:=\(port)}"))
    }

    /// One proxy is trusted, by the one address that it has always, and which no other container is given.
    @Test func theServicesTrustTheGatewayAlone() throws {
        let network = compose.at("networks", "gateway", "ipam", "config")?.elements.first
        let gateway = try #require(services["gateway"]?.at("networks", "gateway", "ipv4_address")?.string)
        #expect(gateway.hasSuffix(".2"))
        #expect(network?["subnet"]?.string == "\(gateway.dropLast(2)).0/24")
        #expect(network?["ip_range"]?.string == "\(gateway.dropLast(2)).128/25")
        for program in Self.programs {
            #expect(services[program]?.at("environment", "STAMPEDE_HTTP_TRUSTED_PROXIES")?.string == gateway)
        }
        // The gateway itself trusts nobody until it is told, and limits all but those of the network inside.
        let environment = services["gateway"]?["environment"]
        #expect(environment?["GATEWAY_TRUSTED_PROXIES"]?.string == "${GATEWAY_TRUSTED_PROXIES:-none}")
        #expect(environment?["GATEWAY_UNLIMITED"]?.string == network?["ip_range"]?.string)
        #expect(compose.at("networks", "gateway", "internal")?.boolean == true)
        // What it has by default is what it has on a single machine.
        let fill = try Repository.text("deploy/nginx/fill.sh")
        for name in [
            "GATEWAY_RATE", "GATEWAY_CONNECTIONS", "GATEWAY_STREAMS", "GATEWAY_TRUSTED_PROXIES", "GATEWAY_ORIGINS",
        ] {
            let value = environment?[name]?.string?.firstMatch(of: /:-(.*)\}/)?.1
            #expect(fill.contains("${\(name):=\(value ?? "?")}"), "\(name)")
        }
    }

    @Test func whatIsNotOursHasAHealthCheckAndJobsHaveNone() {
        #expect(dockerfile.contains("HEALTHCHECK") && dockerfile.contains("/health/ready"))
        for name in Self.others {
            #expect(services[name]?.at("healthcheck", "test")?.strings.first == "CMD", "\(name)")
            #expect(services[name]?["stop_grace_period"] != nil && services[name]?["restart"] != nil)
        }
        for name in Self.jobs + ["stampede"] {
            #expect(services[name]?.at("healthcheck", "disable")?.boolean == true, "\(name)")
        }
        let waited = services["gateway"]?["depends_on"]?.members ?? [:]
        #expect(waited.keys.sorted() == (Self.programs + ["site"]).sorted())
        for (name, condition) in waited {
            let wanted = name == "site" ? "service_completed_successfully" : "service_healthy"
            #expect(condition["condition"]?.string == wanted)
        }
    }

    @Test func portsAreThoseOfTheSingleMachine() throws {
        let library = try Repository.text("scripts/lib.sh")
        for name in ["GATEWAY_PORT", "KAFKA_PORT", "POSTGRES_PORT"] {
            let port = try #require(library.firstMatch(of: try Regex("\\{\(name):=([0-9]+)\\}"))?[1].substring)
            let service = String(name.prefix { $0 != "_" }).lowercased()
            let published = services[service]?["ports"]?.strings ?? []
            #expect(published.count == 1 && published[0].contains("${\(name):-\(port)}"), "\(published)")
        }
    }

    @Test func everyVariableOfTheFileIsDocumentedWithItsDefault() throws {
        let text = try Repository.text("docs/configuration.md")
        let table = text.suffix(from: try #require(text.range(of: "## The containers")).lowerBound)
        var documented: [String: String] = [:]
        for match in table.matches(of: /\| `([A-Z_]+)` \| `([^`]+)` \|/) {
            documented[String(match.1)] = String(match.2)
        }
        var read: [String: String] = [:]
        for match in try Repository.text("docker-compose.yml").matches(of: /\$\{([A-Z_]+):-([^}]*)\}/) {
            read[String(match.1)] = String(match.2)
        }
        #expect(read == documented)
    }

    @Test func theImageHasEveryProgramAndAUserForEachService() throws {
        let package = try Repository.text("Package.swift")
        let built = try #require(dockerfile.firstMatch(of: /programs="([a-z ]+)"/)?.1)
        let products = package.matches(of: /\.executable\(name: "([a-z]+)"/).map { String($0.1) }
        #expect(Set(built.split(separator: " ").map(String.init)) == Set(products))
        let users = try #require(dockerfile.firstMatch(of: /for user in ([a-z ]+);/)?.1)
        #expect(Set(users.split(separator: " ").map(String.init)) == Set(Self.programs + ["stampede"]))
        let last = dockerfile.components(separatedBy: "\nUSER ").last
        #expect(last?.hasPrefix("stampede\n") == true, "the image would run as root")
        // Every C library of the package is in both stages.
        for match in package.matches(of: /debian: "(lib[a-z0-9-]+)-dev"/) {
            #expect(dockerfile.contains(" \(match.1)-dev"), "\(match.1)")
            let name = match.1.prefix { $0 != "-" }
            let runtime = dockerfile[(dockerfile.range(of: "FROM debian")?.lowerBound ?? dockerfile.endIndex)...]
            let stem = name == "libcurl4" ? "libcurl" : name
            #expect(runtime.contains(" \(stem)"), "\(name) is not in the image")
        }
    }

    @Test func whoMayReadThePasswordsIsInTheirGroup() throws {
        let script = try Repository.text("deploy/compose/secrets")
        let group = try #require(script.firstMatch(of: /postgres_group=([0-9]+)/)?.1)
        for name in ["postgres", "database", "secrets"] {
            #expect(services[name]?["group_add"]?.strings.contains(String(group)) == true, "\(name)")
        }
        for program in Self.programs {
            #expect(services["secrets"]?["group_add"]?.strings.contains(program) == true)
            #expect(services[program]?["group_add"] == nil)
        }
    }

    @Test func kafkaIsSetAsOnTheSingleMachineWhereItNeedNotDiffer() throws {
        let file = try Repository.text("deploy/kafka/server.properties")
        let placeholders = file.split(separator: "\n").filter { $0.contains("@") && !$0.hasPrefix("#") }
            .compactMap { $0.split(separator: "=").first.map(String.init) }
        let given = Set(
            (services["kafka"]?["environment"]?.members.keys.map { $0 } ?? []).filter { $0.hasPrefix("KAFKA_") }.map {
                $0.dropFirst("KAFKA_".count).lowercased().replacing("_", with: ".")
            })
        // What scripts/broker.sh fills in, the container's environment says.
        #expect(!placeholders.isEmpty)
        for name in placeholders { #expect(given.contains(name), "\(name)") }
    }
}
