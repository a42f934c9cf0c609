// deploy/kubernetes against the schemas of Kubernetes and against the project.
import Foundation
import TestSupport
import Testing

@testable import StampedeCore

@Suite struct KubernetesTests {
    private struct NotValid: Error, CustomStringConvertible { let description: String }

    /// A kustomization as it is applied, every resource of it held against the published schema of its kind.
    private func resources(_ folder: String) async throws -> [DocumentTree] {
        let root = Repository.root.path
        let python = "\(root)/.local/python/bin/python"
        guard FileManager.default.isExecutableFile(atPath: python),
            FileManager.default.fileExists(atPath: "\(root)/.local/python/installed")
        else {
            throw NotValid(
                description: "the schemas of Kubernetes are not there: `scripts/packages --test` gets them from PyPI")
        }
        let name = FileManager.default.temporaryDirectory.appending(path: "stampede-\(UUID().uuidString)").path
        defer { for suffix in [".out", ".err"] { try? FileManager.default.removeItem(atPath: name + suffix) } }
        func open(_ suffix: String) throws -> FileHandle {
            _ = FileManager.default.createFile(atPath: name + suffix, contents: nil)
            return try #require(FileHandle(forWritingAtPath: name + suffix))
        }
        let program = try ChildProgram(
            python, ["\(root)/scripts/kubernetes-check", "\(root)/deploy/kubernetes/\(folder)"],
            environment: ProcessInfo.processInfo.environment, output: try open(".out"), errors: try open(".err"))
        let code = await program.wait()
        let errors = try String(contentsOfFile: name + ".err", encoding: .utf8)
        guard code == 0 else { throw NotValid(description: errors) }
        return try DocumentTree(json: Data(contentsOf: URL(filePath: name + ".out"))).elements
    }

    private func find(_ kind: String, _ name: String, in resources: [DocumentTree]) -> DocumentTree? {
        resources.first { $0["kind"]?.string == kind && $0.at("metadata", "name")?.string == name }
    }

    @Test(arguments: ["base", "autoscaling", "example"])
    func everyResourceFitsItsSchema(folder: String) async throws {
        #expect(try await !resources(folder).isEmpty)
    }

    @Test func everyServiceIsProbedBoundedConfinedAndConfigured() async throws {
        let resources = try await resources("example")
        let documented = try Documented.settings()
        let settings = try #require(find("ConfigMap", "stampede", in: resources)?["data"]?.members)
        #expect(settings["KAFKA_BOOTSTRAP_SERVERS"] != nil)
        let paths = settings.values.compactMap(\.string).filter { $0.hasPrefix("/secrets/") }
        // The job comes to Kafka with the same settings, and an identity of its own.
        let job = find("Job", "topics", in: resources)?.at("spec", "template", "spec")
        #expect(job?["volumes"]?.elements.first?.at("secret", "secretName")?.string == "operator")
        let operators = find("Secret", "operator", in: resources)?["stringData"]?.members
        #expect(!paths.isEmpty)
        for file in paths { #expect(operators?[String(file.dropFirst("/secrets/".count))] != nil, "\(file)") }
        for service in Settings.Service.allCases {
            let name = service.rawValue
            let deployment = try #require(find("Deployment", name, in: resources), "\(name)")
            let pod = try #require(deployment.at("spec", "template", "spec"))
            #expect(pod["containers"]?.elements.count == 1)
            let container = try #require(pod["containers"]?.elements.first)
            #expect(container["command"]?.strings == [name])
            // The owner's DSN is for what migrates, and for nothing else.
            let migrate = try #require(pod["initContainers"]?.elements.first)
            #expect(pod["initContainers"]?.elements.count == 1 && migrate["command"]?.strings == [name, "migrate"])
            #expect(migrate["env"]?.elements.compactMap { $0["value"]?.string } == ["/owner/dsn"])
            #expect(migrate["volumeMounts"]?.elements.compactMap { $0["name"]?.string } == ["owner"])
            #expect(container["volumeMounts"]?.elements.compactMap { $0["name"]?.string } == ["secrets"])
            #expect(migrate.at("securityContext", "capabilities", "drop")?.strings == ["ALL"])
            #expect(find("Secret", "\(name)-owner", in: resources)?.at("stringData", "dsn") != nil)
            #expect(container.at("livenessProbe", "httpGet", "path")?.string == "/health/live")
            #expect(container.at("startupProbe", "httpGet", "path")?.string == "/health/live")
            #expect(container.at("readinessProbe", "httpGet", "path")?.string == "/health/ready")
            #expect(container.at("resources", "limits", "memory") != nil)
            #expect(container.at("resources", "requests", "cpu") != nil)
            #expect(container.at("securityContext", "readOnlyRootFilesystem")?.boolean == true)
            #expect(container.at("securityContext", "allowPrivilegeEscalation")?.boolean == false)
            #expect(container.at("securityContext", "capabilities", "drop")?.strings == ["ALL"])
            #expect(pod.at("securityContext", "runAsNonRoot")?.boolean == true)
            #expect(pod["enableServiceLinks"]?.boolean == false)
            #expect(pod["topologySpreadConstraints"]?.elements.isEmpty == false)
            // The pause before the end and the drain of 10 s fit into it.
            #expect(pod["terminationGracePeriodSeconds"]?.integer ?? 0 > 15)

            let variables = container["env"]?.elements.compactMap { $0["name"]?.string } ?? []
            #expect(container["envFrom"]?.elements.first?.at("configMapRef", "name")?.string == "stampede")
            for variable in variables + settings.keys {
                #expect(Documented.knows(service, variable, documented), "\(name): \(variable)")
            }
            let secret = try #require(find("Secret", name, in: resources)?["stringData"]?.members)
            #expect(pod["volumes"]?.elements.first?.at("secret", "secretName")?.string == name)
            let values = (container["env"]?.elements.compactMap { $0["value"]?.string } ?? []) + paths
            for file in values where file.hasPrefix("/secrets/") {
                #expect(secret[String(file.dropFirst("/secrets/".count))] != nil, "\(name): \(file)")
            }
            #expect(variables.contains("STAMPEDE_POSTGRES_DSN_FILE"))

            let selector = deployment.at("spec", "selector", "matchLabels")
            #expect(
                selector
                    == deployment.at("spec", "template", "metadata", "labels").map { labels in
                        .object(labels.members.filter { $0.key == "app.kubernetes.io/name" })
                    })
            let budget = find("PodDisruptionBudget", name, in: resources)
            #expect(budget?.at("spec", "selector", "matchLabels") == selector)
            #expect(budget?.at("spec", "maxUnavailable")?.integer == 1)
        }
        #expect(
            find("Deployment", "messaging", in: resources)?.at("spec", "template", "spec")?["containers"]?.elements
                .first?[
                    "image"]?.string == "registry.example.com/stampede:0.1.0")
    }

    @Test func theIngressForwardsWhatTheGatewayForwards() async throws {
        let resources = try await resources("base")
        let paths = try #require(
            find("Ingress", "stampede", in: resources)?.at("spec", "rules")?.elements.first?
                .at("http", "paths")?.elements)
        var forwarded: [String: String] = [:]
        for path in paths {
            let name = try #require(path.at("backend", "service", "name")?.string)
            forwarded[try #require(path["path"]?.string)] = name
            let service = find("Service", name, in: resources)
            #expect(service?.at("spec", "selector", "app.kubernetes.io/name")?.string == name)
        }
        #expect(forwarded == (try Documented.routes()))
        #expect(forwarded.count >= 15)
    }

    /// KEDA's own kinds have no published schema beside those of Kubernetes, so what it reads is looked at here.
    @Test func reservationIsScaledByItsOwnLag() async throws {
        let object = try #require(find("ScaledObject", "reservation", in: try await resources("example")))
        #expect(object.at("spec", "scaleTargetRef", "kind")?.string == "Deployment")
        #expect(object.at("spec", "scaleTargetRef", "name")?.string == "reservation")
        // One Deployment, one master over its number.
        let deployment = find("Deployment", "reservation", in: try await resources("example"))
        #expect(deployment?.at("spec", "replicas") == nil)
        let trigger = try #require(object.at("spec", "triggers")?.elements.first)
        #expect(trigger["type"]?.string == "kafka")
        #expect(trigger.at("metadata", "consumerGroup")?.string == ConsumerGroups.decisions.group)
        #expect(trigger.at("metadata", "topic")?.string == ConsumerGroups.decisions.topic)
        // KEDA wants texts there.
        #expect(trigger.at("metadata", "lagThreshold")?.string.flatMap { Int($0) } ?? 0 > 0)
        #expect(trigger.at("metadata", "bootstrapServersFromEnv")?.string == "KAFKA_BOOTSTRAP_SERVERS")
        let job = find("Job", "topics", in: try await resources("example"))
        let command = job?.at("spec", "template", "spec")?["containers"]?.elements.first?["command"]?.strings
        #expect(command?.prefix(3) == ["stampede", "topics", "create"])
        #expect(object.at("spec", "maxReplicaCount")?.integer == command?.last.flatMap { Int64($0) })
    }

    /// Who is trusted may say for whom it asks: that is for an overlay to know, and never a network that pods share.
    @Test func nobodyIsTrustedByDefault() async throws {
        func trusted(_ folder: String) async throws -> DocumentTree? {
            find("ConfigMap", "stampede", in: try await resources(folder))?.at("data", "STAMPEDE_HTTP_TRUSTED_PROXIES")
        }
        #expect(try await trusted("base") == nil)
        let networks = try #require(try await trusted("example")?.string)
        for network in networks.split(separator: ",") {
            let bits = try #require(network.split(separator: "/").last.flatMap { Int($0) })
            #expect(bits >= 24, "\(network)")
        }
    }

    @Test func nobodyMayBeReachedWhoIsNotNamed() async throws {
        let resources = try await resources("base")
        let none = try #require(find("NetworkPolicy", "nobody", in: resources)?["spec"])
        #expect(none["podSelector"] == .object([:]) && none["ingress"] == nil && none["egress"] == nil)
        #expect(none["policyTypes"]?.strings.sorted() == ["Egress", "Ingress"])
    }
}
