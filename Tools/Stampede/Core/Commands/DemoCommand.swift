// The demonstration: a shop that has something to sell every ten minutes.
import HTTP
import Models

struct DemoCommand: Command {
    static let description = CommandDescription(
        "demo", "a brand with a phone, two buyers, and a sale that opens again and again",
        options: [
            Option("first", "SECONDS", "until the first sale opens", default: "120"),
            Option("every", "SECONDS", "from one opening to the next", default: "600"),
            Option("rounds", "N", "sales, then end; 0: for ever", default: "0"),
        ],
        details: """
            It goes through the API, as anybody would, and takes what is there from the time before. Who signs in by which
            handle it prints; the password is the same for all, so this is for a stack that only this machine can reach.
            """)

    private let firstSeconds: Int64
    private let everySeconds: Int64
    private let rounds: Int
    private let gatewayURL: String
    private let operatorSecret: String

    init(_ arguments: Arguments, _ settings: Settings) throws {
        firstSeconds = Int64(try arguments.integer("first", in: 1...86_400))
        everySeconds = Int64(try arguments.integer("every", in: 30...86_400))
        rounds = try arguments.integer("rounds", in: 0...1_000_000)
        gatewayURL = try settings.value("STAMPEDE_GATEWAY_URL")
        operatorSecret = try settings.value("STAMPEDE_OPERATOR_SECRET")
    }

    func run(_ console: Console) async throws -> ExitCode {
        let demonstration = Demonstration(
            api: APIClient(client: try HTTPClient(), baseURL: gatewayURL), operatorSecret: operatorSecret)
        var brand = try await demonstration.prepare()
        let names = Demonstration.buyers.map(\.handle).joined(separator: " or ")
        console.print("sign in as \(names), or as the brand \(Demonstration.brand.handle): \(Demonstration.password)")
        var opening = try await demonstration.lastOpening(of: brand)
        for round in 1... {
            // What is announced already is waited for.
            if let opening {
                let left = opening.microseconds - WallClock.now().microseconds
                if left > 0 { try await Task.sleep(for: .microseconds(left)) }
                // A token is good for some minutes.
                brand = try await demonstration.signIn(Demonstration.brand) ?? brand
            }
            let now = WallClock.now()
            let next = opening?.adding(seconds: everySeconds)
            // After a pause it begins as at first.
            let noon = next.flatMap { $0 > now ? $0 : nil } ?? now.adding(seconds: firstSeconds)
            try await demonstration.openSale(of: brand, at: noon, closesAt: noon.adding(seconds: everySeconds - 10))
            console.print("a sale opens at \(noon)")
            opening = noon
            if round == rounds { break }
        }
        return .success
    }
}
