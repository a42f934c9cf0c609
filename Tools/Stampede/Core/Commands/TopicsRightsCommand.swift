// Who may do what on a Kafka that asks: shown, or given.
import JSON
import Kafka

struct TopicsRightsCommand: Command {
    static let description = CommandDescription(
        "topics rights", "what each service may do on Kafka, and no more",
        options: [
            Option("principal", "TEXT", "what Kafka calls them; NAME stands for the name", default: "User:NAME"),
            Option("give", nil, "make these rules on the cluster; those that are there stay"),
            .json,
        ],
        details: """
            One principal for each service, one for partners who publish orders, one for the operator who uses this command.
            To give rights one needs the right to: come as one of the cluster's super users.
            """)

    private let kafka: KafkaConfiguration?
    private let principal: String
    private let json: Bool

    init(_ arguments: Arguments, _ settings: Settings) throws {
        kafka = arguments.has("give") ? try settings.kafka(clientID: "stampede-topics") : nil
        principal = arguments["principal"] ?? ""
        guard principal.contains("NAME"), principal.contains(":") else {
            throw UsageError("--principal \(principal): expected TYPE:…NAME…, such as User:NAME")
        }
        json = arguments.has("json")
    }

    func run(_ console: Console) async throws -> ExitCode {
        let rules = AccessRights.all.flatMap { $0.rules(principal: principal.replacing("NAME", with: $0.holder)) }
        if let kafka { try await KafkaAdmin(kafka).create(rules: rules) }
        if json {
            var writer = JSONWriter()
            writer.array {
                for rule in rules {
                    $0.object {
                        $0.field("principal", rule.principal)
                        $0.field("operation", rule.operation.rawValue)
                        $0.field("resource", rule.resource.kind)
                        $0.field("name", rule.resource.name)
                    }
                }
            }
            console.print(json: writer.bytes)
            return .success
        }
        var table = Table([("principal", .left), ("may", .left), ("", .left), ("", .left)])
        for rule in rules {
            table.add([rule.principal, rule.operation.rawValue, rule.resource.kind, rule.resource.name])
        }
        console.print(table.text)
        if kafka != nil { console.print("\(rules.count) rules given") }
        return .success
    }
}
