// Proves afterwards what a sale must not have done, from the schemas and the log.
import JSON
import Kafka

struct AuditCommand: Command {
    static let description = CommandDescription(
        "audit", "check every order, phone and payment against every other",
        options: [
            Option("settle", "SECONDS", "wait so long for the services to finish what is under way", default: "30"),
            .json,
        ],
        details: """
            It reads the five schemas, each with its own role, and the topics orders and reservations. Exit code 1 when a rule
            is broken.
            """)

    private let kafka: KafkaConfiguration
    private let settings: Settings
    private let settleSeconds: Int
    private let json: Bool

    init(_ arguments: Arguments, _ settings: Settings) throws {
        kafka = try settings.kafka(clientID: "stampede-audit")
        for service in Settings.Service.allCases { _ = try settings.dsn(service) }
        self.settings = settings
        settleSeconds = try arguments.integer("settle", in: 0...3600)
        json = arguments.has("json")
    }

    func run(_ console: Console) async throws -> ExitCode {
        let gathering = try Gathering(kafka: kafka, dsn: settings.dsn, console: console)
        let evidence = try await gathering.run(settleSeconds: settleSeconds)
        console.endProgress()
        let findings = Checks.findings(evidence)
        if json { console.print(json: Self.json(findings)) } else { console.print(Self.text(findings, evidence)) }
        return findings.allSatisfy { $0.wrong == 0 } ? .success : .foundWrong
    }

    static func text(_ findings: [Finding], _ evidence: Evidence) -> String {
        var table = Table([("", .left), ("check", .left), ("examined", .right), ("wrong", .right), ("", .left)])
        for finding in findings {
            table.add([
                finding.wrong == 0 ? "✓" : "✗", finding.name, finding.examined.grouped, finding.wrong.grouped,
                finding.wrong == 0 ? finding.note : finding.rule,
            ])
            for example in finding.wrong == 0 ? [] : finding.examples { table.add(["", "", "", "", "  \(example)"]) }
        }
        let wrong = findings.count { $0.wrong > 0 }
        let verdict =
            wrong == 0
            ? "clean: \(evidence.orders.count.grouped) orders, \(findings.count) checks"
            : "NOT CLEAN: \(wrong) of \(findings.count) checks failed"
        return "\(table.text)\n\(verdict)"
    }

    static func json(_ findings: [Finding]) -> [UInt8] {
        JSONWriter.object { writer in
            writer.field("clean", findings.allSatisfy { $0.wrong == 0 })
            writer.name("checks")
            writer.array {
                for finding in findings {
                    $0.object {
                        $0.field("name", finding.name)
                        $0.field("rule", finding.rule)
                        $0.field("examined", finding.examined)
                        $0.field("wrong", finding.wrong)
                        $0.field("note", finding.note)
                        $0.field("examples", finding.examples)
                    }
                }
            }
        }
    }
}
