// What the README tells to type is typed, and does what it says.
import Foundation
import HTTP
import Models
import Testing

@testable import StampedeCore

extension Stack {
    /// The block of shell lines that holds the word.
    static func block(of document: String = "README.md", with word: String) throws -> String {
        let text = try String(contentsOfFile: "\(root)/\(document)", encoding: .utf8)
        let blocks = text.matches(of: /```sh\n(?<lines>(?:[^`]|`[^`])*)```/).map { String($0.output.lines) }
        return try #require(blocks.first { $0.contains(word) }, "no block of \(document) holds \(word)")
    }

    /// Runs lines as somebody in a checkout with the stack up would.
    func type(_ lines: String) async throws -> Ended {
        let prelude = """
            set -euo pipefail
            cd '\(Self.root)'
            stampede() {
                local code=0 seconds=120
                # What follows a topic does so until it is stopped.
                [[ $1 != tail ]] || seconds=3
                timeout --signal=INT $seconds .build/debug/stampede "$@" --environment '\(folder)/environment' || code=$?
                [[ $1 == tail || $code == 0 ]]
            }

            """
        return try await run("/bin/bash", ["-c", prelude + lines.replacing(".local/", with: folder + "/")])
    }
}

@Suite struct ReadmeTests {
    @Test func whatItTellsToTypeWorks() async throws {
        try await Stack.with(.embedded) { stack in
            let settings = try stack.settings()
            let gateway = try settings.value("STAMPEDE_GATEWAY_URL")
            let client = try HTTPClient()
            let market = try await Preparation(
                api: APIClient(client: client, baseURL: gateway),
                operatorSecret: try settings.value("STAMPEDE_OPERATOR_SECRET"),
                plan: RushPlan(
                    orders: 2, units: 5, via: .kafka, waitlistMax: 5, holdSeconds: 600, poorPerMille: 0, listeners: 0,
                    connections: 1, threads: 1, noonSeconds: 1, inFlightMax: nil, timeoutSeconds: 60),
                console: .silent
            ).run()
            await client.close()
            try await Task.sleep(for: market.noon - WallClock.now())
            let sale = market.sale.description

            let api = try Stack.block(with: "curl")
                .replacing("http://127.0.0.1:8080", with: gateway)
                .replacing(#""saleId":"…""#, with: #""saleId":"\#(sale)""#)
                .replacing("curl -s", with: "curl -sf")
                // A stream has no end; 28 says that it went on until the time was over.
                .replacing("curl -N", with: "echo; curl -sfN --max-time 2")
            let ordered = try await stack.type(api)
            #expect(ordered.code == 28, "\(ordered.errors)")
            #expect(ordered.output.contains(sale))
            #expect(ordered.output.contains(#""status":"accepted""#), "\(ordered.output)")

            func published(_ order: String) throws -> String {
                try Stack.block(with: "kcat -P")
                    .replacing(#""orderId":"…","saleId":"…""#, with: #""orderId":"\#(order)","saleId":"\#(sale)""#)
                    .replacing(#""buyerId":"…""#, with: #""buyerId":"\#(market.buyers.ids[0])""#)
                    .replacing("BUYER-ID", with: market.buyers.ids[0].description)
                    .replacing("ORDER-ID", with: order)
            }
            try await stack.type(try published(UUID().uuidString.lowercased())).requireSuccess()
            // One that is none, for the lines about dead letters.
            try await stack.type(try published("nonsense")).requireSuccess()
            try await stack.eventually {
                try await stack.stampede("dead", "list", "orders").requireSuccess().output.contains("orders.dead/0/0")
            }
            let dead = try await stack.type(try Stack.block(with: "stampede dead show")).requireSuccess()
            #expect(dead.output.contains("orderId"))

            let tools = try await stack.type(
                try Stack.block(with: "stampede topics lag").replacing("--orders 50000", with: "--orders 200")
            ).requireSuccess()
            #expect(tools.output.contains("reservation.orders"))
            // The one in the chat, the one by kcat, and the load's.
            #expect(tools.output.contains("clean: 202 orders"), "\(tools.output)")
        }
    }
}
