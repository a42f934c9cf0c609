// What operators look at: Prometheus collects from the running stack, every panel of every dashboard has data, every
// alert can fire and is explained.
import Foundation
import HTTP
import JSON
import TestSupport
import Testing

@testable import StampedeCore

@Suite(.serialized) struct MonitoringTests {
    private static let folder = "\(Stack.root)/deploy/monitoring"

    // MARK: The files

    private struct Query: Sendable {
        let board: String
        let panel: String
        let expression: String
    }

    /// Every query of every panel of every dashboard.
    private static func queries() throws -> [Query] {
        let folder = "\(folder)/grafana/dashboards"
        var queries: [Query] = []
        for file in try FileManager.default.contentsOfDirectory(atPath: folder).sorted() {
            let data = try Data(contentsOf: URL(fileURLWithPath: "\(folder)/\(file)"))
            let board = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
            for panel in try #require(board["panels"] as? [[String: Any]]) where panel["type"] as? String != "row" {
                let title = try #require(panel["title"] as? String)
                let targets = try #require(panel["targets"] as? [[String: Any]])
                #expect(!targets.isEmpty, "\(file): \(title)")
                for target in targets {
                    let source = (target["datasource"] as? [String: Any])?["uid"] as? String
                    #expect(source == "stampede", "\(file): \(title)")
                    queries.append(
                        Query(board: file, panel: title, expression: try #require(target["expr"] as? String)))
                }
            }
        }
        return queries
    }

    private struct Alert {
        let name: String
        let expression: String
    }

    private static func alerts() throws -> [Alert] {
        let text = try String(contentsOfFile: "\(folder)/prometheus/alerts.yml", encoding: .utf8)
        var alerts: [Alert] = []
        for part in text.components(separatedBy: "- alert: ").dropFirst() {
            let name = part.prefix { !$0.isNewline }
            let rest = part.components(separatedBy: "expr:")[1]
            let end = rest.firstRange(of: #/\n +(for|labels):/#)?.lowerBound ?? rest.endIndex
            alerts.append(Alert(name: String(name), expression: String(rest[..<end])))
        }
        return alerts
    }

    @Test func theRulesAreWellFormedAndSayWhatTheirTestsExpect() async throws {
        for arguments in [
            ["check", "config", "prometheus.yml"], ["check", "rules", "alerts.yml"],
            ["test", "rules", "alerts.test.yml"],
        ] {
            let folder = "\(Self.folder)/prometheus"
            let ended = try await ShortProgram.run(
                "/usr/bin/promtool", arguments.dropLast() + ["\(folder)/\(arguments.last ?? "")"])
            #expect(ended.code == 0, "promtool \(arguments): \(ended.output)")
        }
    }

    @Test func everyAlertIsTestedAndExplained() throws {
        let tests = try String(contentsOfFile: "\(Self.folder)/prometheus/alerts.test.yml", encoding: .utf8)
        let document = try String(contentsOfFile: "\(Stack.root)/docs/operations.md", encoding: .utf8)
        let alerts = try Self.alerts()
        #expect(alerts.count > 10)
        for alert in alerts {
            #expect(tests.contains("- alertname: \(alert.name)\n"), "\(alert.name) is never seen to fire")
            #expect(tests.contains("{alertname: \(alert.name), eval_time"), "\(alert.name) is never seen not to fire")
            #expect(document.contains("\n### \(alert.name)\n"), "docs/operations.md says nothing of \(alert.name)")
        }
        let explained = document.matches(of: #/\n### ([A-Z][A-Za-z]+)\n/#).map { String($0.1) }
        #expect(Set(explained) == Set(alerts.map(\.name)))
    }

    // MARK: The running stack

    /// Prometheus, with the stack's addresses in place of names in a network.
    private struct Prometheus: Sendable {
        let url: String
        private let program: ChildProgram
        /// Its end is the sign to stop, also when this process is killed.
        private let input: FileHandle
        private let client: HTTPClient

        static func start(for stack: Stack) async throws -> Prometheus {
            let port = try FreePorts.take()
            let folder = "\(stack.folder)/prometheus"
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            let source = "\(MonitoringTests.folder)/prometheus"
            try FileManager.default.copyItem(atPath: "\(source)/alerts.yml", toPath: "\(folder)/alerts.yml")
            var found = 0
            let blocks =
                #/dns_sd_configs:\n +- names: \[([a-z]+)\]\n +type: A\n +port: [0-9]+\n +refresh_interval: [0-9]+s/#
            let settings = try String(contentsOfFile: "\(source)/prometheus.yml", encoding: .utf8)
                .replacing(blocks) { match in
                    found += 1
                    let address = "127.0.0.1:\(stack.environment["\(match.1.uppercased())_PORT"] ?? "0")"
                    return "static_configs: [{targets: [\"\(address)\"]}]"
                }
                .replacing("scrape_interval: 5s", with: "scrape_interval: 1s")
                .replacing("scrape_timeout: 4s", with: "scrape_timeout: 1s")
                .replacing("evaluation_interval: 5s", with: "evaluation_interval: 1s")
            #expect(found == Settings.Service.allCases.count)
            try settings.write(toFile: "\(folder)/prometheus.yml", atomically: true, encoding: .utf8)
            let log = "\(folder)/log"
            _ = FileManager.default.createFile(atPath: log, contents: nil)
            let output = try #require(FileHandle(forWritingAtPath: log))
            let options = [
                "--config.file='\(folder)/prometheus.yml'", "--storage.tsdb.path='\(folder)/data'",
                "--web.listen-address=127.0.0.1:\(port)", "--log.level=warn",
            ]
            let command = "/usr/bin/prometheus \(options.joined(separator: " ")) & cat >/dev/null; kill $!; wait $!"
            let pipe = Pipe()
            _ = fcntl(pipe.fileHandleForWriting.fileDescriptor, F_SETFD, FD_CLOEXEC)
            let program = try ChildProgram(
                "/bin/bash", ["-c", command], environment: stack.environment, output: output,
                input: pipe.fileHandleForReading)
            try pipe.fileHandleForReading.close()
            return Prometheus(
                url: "http://127.0.0.1:\(port)", program: program, input: pipe.fileHandleForWriting,
                client: try HTTPClient())
        }

        func end() async {
            try? input.close()
            _ = await program.wait()
            await client.close()
        }

        /// The `data` of an answer of the API; nil while it does not answer.
        func ask(_ path: String, _ fields: String = "") async throws -> Any? {
            let request = ClientRequest(
                .post, "\(url)/api/v1/\(path)", headers: [("Content-Type", "application/x-www-form-urlencoded")],
                body: Array(fields.utf8))
            do {
                let response =
                    try await fields.isEmpty
                    ? client.send(ClientRequest(.get, "\(url)/api/v1/\(path)")) : client.send(request)
                // It listens before it has read what it stored.
                if response.status == 503 { return nil }
                let object = try JSONSerialization.jsonObject(with: Data(response.body)) as? [String: Any]
                if let error = object?["error"] { Issue.record("\(path) \(fields): \(error)") }
                return object?["data"]
            } catch let error as HTTPClientError where error.isRetriable {
                return nil
            }
        }

        /// How many series a query gives now.
        func series(_ expression: String) async throws -> Int {
            var plain = CharacterSet.alphanumerics
            plain.insert(charactersIn: "-._~")
            let query = expression.addingPercentEncoding(withAllowedCharacters: plain) ?? ""
            let data = try await ask("query", "query=\(query)") as? [String: Any]
            return (data?["result"] as? [Any])?.count ?? 0
        }
    }

    @Test func everyPanelOfEveryDashboardHasDataAfterASmallSale() async throws {
        try await Stack.with(.embedded) { stack in
            let prometheus = try await Prometheus.start(for: stack)
            do {
                try await check(prometheus, stack)
            } catch {
                await prometheus.end()
                throw error
            }
            await prometheus.end()
        }
    }

    private func check(_ prometheus: Prometheus, _ stack: Stack) async throws {
        try await stack.eventually { try await prometheus.series("up == 1") == Settings.Service.allCases.count }
        try await stack.stampede(
            "rush", "--orders", "300", "--units", "30", "--waitlist", "20", "--listeners", "5", "--timeout", "60",
            "--json", "--processes", "\(stack.folder)/run"
        ).requireSuccess()
        let audit = try await stack.stampede("audit", "--json")
        #expect(audit.code == 0, "\(audit.output)")

        let queries = try Self.queries()
        #expect(queries.count > 30)
        for query in queries {
            let expression = query.expression.replacing("$__rate_interval", with: "20s")
            do {
                try await stack.eventually { try await prometheus.series(expression) > 0 }
            } catch {
                Issue.record("\(query.board), \(query.panel): no data: \(expression)")
            }
        }

        // What was decided is what is shown.
        try await stack.eventually {
            try await prometheus.series("sum(stampede_orders_decided_total) == 300") == 1
        }
        for expression in [
            #"sum(stampede_ledger_transfers_total{kind="capture"}) == 30"#,
            #"sum(stampede_events_published_total{type="stampede.payment.captured.v1"}) == 30"#,
            "sum(max by (sale, batch, variant) (stampede_stock_supply_units)) == 30",
            "sum(kafka_consumer_lag_records) == 0", "max(stampede_oldest_event_seconds) == 0",
            // Twelve groups' worth of partitions: each that a service has is read by somebody.
            #"min(count by (group) (kafka_consumer_lag_records{topic!~"sales|products|keys"})) == 12"#,
        ] {
            do {
                try await stack.eventually { try await prometheus.series(expression) == 1 }
            } catch {
                Issue.record("it never came true: \(expression)")
            }
        }

        try await checkAlerts(prometheus)
    }

    /// The alerts are read, name what exists, and none has reason to fire but those that the load itself makes.
    private func checkAlerts(_ prometheus: Prometheus) async throws {
        let names = Set(try #require(try await prometheus.ask("label/__name__/values") as? [String]))
        let alerts = try Self.alerts()
        for alert in alerts {
            let metrics = alert.expression.matches(of: #/\b[a-z_]+_[a-z_]+\b(?=[ \[{)])/#).map { String($0.0) }
                .filter { $0 != "histogram_quantile" }
            for metric in metrics { #expect(names.contains(metric), "\(alert.name): there is no metric \(metric)") }
        }
        let groups = try #require((try await prometheus.ask("rules") as? [String: Any])?["groups"] as? [[String: Any]])
        let rules = groups.flatMap { $0["rules"] as? [[String: Any]] ?? [] }
        #expect(rules.count == alerts.count)
        for rule in rules {
            let name = rule["name"] as? String ?? ""
            #expect(rule["health"] as? String == "ok", "\(name): \(rule["lastError"] ?? "")")
            #expect(rule["state"] as? String != "firing", "\(name) fires: \(rule["alerts"] ?? "")")
        }
    }
}

/// A program that is run to its end.
enum ShortProgram {
    static func run(_ path: String, _ arguments: [String]) async throws -> (code: Int32, output: String) {
        let file = FileManager.default.temporaryDirectory.appending(path: "stampede-run-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: file) }
        _ = FileManager.default.createFile(atPath: file, contents: nil)
        guard let output = FileHandle(forWritingAtPath: file) else {
            throw Stack.Ended.Failure(description: "\(file) cannot be opened")
        }
        let program = try ChildProgram(path, arguments, environment: ["PATH": "/usr/bin:/bin"], output: output)
        let code = await program.wait()
        return (code, try String(contentsOfFile: file, encoding: .utf8))
    }
}
