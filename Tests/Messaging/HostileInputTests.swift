import Foundation
import HTTP
import Models
import Postgres
import Security
import TestSupport
import Testing

@testable import MessagingCore

/// Every route with everything that is wrong with a request: the right problem, nothing stored, never a 500.
@Suite(.serialized) struct HostileInputTests {
    /// A request that each route accepts, in the words of the OpenAPI document.
    private struct Example {
        let method: HTTPMethod
        let path: String
        var body: String?
        var kind = Caller.person
    }

    private enum Caller { case nobody, person, brand, operatorOfAll }

    private func examples(_ brand: AccountID, _ other: AccountID, _ conversation: String, _ sale: SaleID) -> [Example] {
        let account = Chat.signUp("new-\(UUID().uuidString.prefix(8).lowercased())")
        let message = #"{"clientMessageId":"1","kind":"text","text":"hi"}"#
        return [
            Example(method: .post, path: "/v1/accounts", body: account, kind: .nobody),
            Example(method: .get, path: "/v1/accounts/me"),
            Example(method: .get, path: "/v1/accounts/\(other)"),
            Example(
                method: .put, path: "/v1/accounts/me/password",
                body: #"{"currentPassword":"not that one","newPassword":"a new password"}"#),
            Example(method: .delete, path: "/v1/accounts/me", body: #"{"password":"not that one"}"#),
            Example(method: .post, path: "/v1/sessions", body: #"{"handle":"abc","password":"x"}"#, kind: .nobody),
            Example(method: .get, path: "/v1/sessions"),
            Example(method: .delete, path: "/v1/sessions"),
            Example(method: .post, path: "/v1/sessions/refresh", body: #"{"refreshToken":"x"}"#, kind: .nobody),
            Example(method: .delete, path: "/v1/sessions/\(SessionID.random())"),
            Example(method: .put, path: "/v1/conversations/\(conversation)/read", body: #"{"sequence":1}"#),
            Example(method: .post, path: "/v1/operator/session", body: #"{"secret":"x"}"#, kind: .nobody),
            Example(method: .post, path: "/v1/operator/brands", body: account, kind: .operatorOfAll),
            Example(
                method: .post, path: "/v1/operator/accounts",
                body: #"{"issuer":"i","accounts":[{"subject":"s","displayName":"d","locale":"en"}]}"#,
                kind: .operatorOfAll),
            Example(method: .post, path: "/v1/conversations", body: #"{"accountId":"\#(other)"}"#),
            Example(method: .get, path: "/v1/conversations"),
            Example(method: .get, path: "/v1/conversations/\(conversation)/messages"),
            Example(method: .post, path: "/v1/conversations/\(conversation)/messages", body: message),
            Example(method: .get, path: "/v1/brands"),
            Example(method: .put, path: "/v1/brands/\(brand)/follow"),
            Example(method: .delete, path: "/v1/brands/\(brand)/follow"),
            Example(
                method: .post, path: "/v1/brands/\(brand)/posts",
                body: #"{"clientMessageId":"1","kind":"text","text":{"en":"hi"}}"#, kind: .brand),
            Example(method: .get, path: "/v1/brands/\(brand)/posts"),
            Example(
                method: .post, path: "/v1/orders",
                body: #"{"clientOrderId":"1","saleId":"\#(sale)","batch":1,"variant":"mi3-silver-16"}"#),
            Example(method: .get, path: "/v1/orders"),
            Example(method: .get, path: "/v1/orders/\(OrderID.random())"),
            Example(method: .post, path: "/v1/orders/\(OrderID.random())/cancellation"),
            Example(method: .get, path: "/v1/events"),
        ]
    }

    /// What stands in the tables that requests write to.
    private func stored(_ chat: Chat) async throws -> [Int64] {
        let pool = try chat.pool()
        let row = try await pool.query(
            """
            SELECT (SELECT count(*) FROM accounts), (SELECT count(*) FROM sessions), (SELECT count(*) FROM messages),
                (SELECT count(*) FROM conversations), (SELECT count(*) FROM posts), (SELECT count(*) FROM orders),
                (SELECT count(*) FROM follows)
            """
        ).first
        await pool.close()
        var counts: [Int64] = []
        for column in 0..<7 { counts.append(try #require(row).get(column)) }
        return counts
    }

    @Test func nothingWrongGetsThroughAndNothingOfItIsStored() async throws {
        // An installation of its own: others' tests would change the counts.
        let chat = try await Chat()
        let (brand, alice, bob) = (
            try await chat.brand(), try await chat.person("alice"), try await chat.person("bob")
        )
        let sale = try await chat.sale(of: brand.id)
        let opened = try await chat.call(
            .post, "/v1/conversations", #"{"accountId":"\#(bob.id)"}"#, token: alice.token)
        let conversation = try #require(opened["conversationId"]?.string)
        let operatorToken = try await chat.operatorToken()
        let examples = examples(brand.id, bob.id, conversation, sale.saleId)
        #expect(Set(examples.map { "\($0.method.rawValue) \($0.path)" }).count == chat.document.operations.count)

        let foreign = try SigningKey.generate().sign(
            claims: AccessClaims(
                sub: alice.id, kind: .person, sid: .random(), iat: Timestamp.now().microseconds / 1_000_000,
                exp: Timestamp.now().microseconds / 1_000_000 + 600))
        let before = try await stored(chat)
        for example in examples {
            let token: String? =
                switch example.kind {
                case .nobody: nil
                case .person: alice.token
                case .brand: brand.token
                case .operatorOfAll: operatorToken
                }
            func refused(
                _ what: String, _ expected: Set<Int>, _ body: String?, token: String?,
                headers: [(String, String)] = []
            ) async throws {
                let answer = try await chat.call(
                    example.method, example.path, body, token: token, headers: headers)
                #expect(
                    expected.contains(answer.status),
                    "\(what): \(example.method.rawValue) \(example.path) answered \(answer.status) \(answer.body)")
                #expect(answer.problem != nil, "\(what): \(example.method.rawValue) \(example.path)")
            }
            if example.kind != .nobody {
                for (what, bad) in [
                    ("no token", nil), ("a foreign token", foreign), ("nonsense", "abc.def.ghi"),
                    ("a broken token", String(alice.token.dropLast(6)) + "AAAAAA"),
                    ("a long token", String(repeating: "a", count: 5000)),
                ] {
                    try await refused(what, [401], example.body, token: bad)
                }
            }
            if example.kind == .operatorOfAll || example.kind == .brand {
                try await refused("a person", [403], example.body, token: alice.token)
            }
            guard let body = example.body else { continue }
            let valid = try DocumentTree(json: body.utf8)
            for text in [
                "", "{", "[]", "null", "7", "\"text\"", "{\"a\":}", body + body, "\u{feff}" + body, "{'a':1}",
                "[" + String(repeating: "[", count: 2000) + String(repeating: "]", count: 2000) + "]",
            ] {
                try await refused("not the document \(text.prefix(20))", [400], text, token: token)
            }
            // Where it ends with a text.
            let half = body.replacingOccurrences(of: "\"}", with: "\\ud800\"}")
            if half != body { try await refused("half a character", [400, 401], half, token: token) }
            try await refused(
                "another type", [415], body, token: token, headers: [("Content-Type", "text/plain")])
            try await refused(
                "a field too many", [400], String(body.dropLast()) + #","surprise":1}"#, token: token)
            for name in valid.members.keys where name != "batch" {
                var without = valid.members
                without[name] = nil
                try await refused("without \(name)", [400], text(.object(without)), token: token)
            }
            for (name, value) in valid.members {
                for wrong: DocumentTree in [
                    .integer(7), .boolean(true), .array([]), .object([:]), .number(1.5), .string(""),
                    .string(String(repeating: "x", count: 9000)), .string("with \u{0} in it"), .integer(-1),
                    .integer(.max),
                ] where !sameKind(wrong, value) {
                    var changed = valid.members
                    changed[name] = wrong
                    try await refused(
                        "\(name) as \(text(wrong).prefix(20))", [400, 401, 404, 413, 422], text(.object(changed)),
                        token: token)
                }
            }
            let oversized = #"{"padding":"\#(String(repeating: "x", count: 5 << 20))"}"#
            try await refused("oversized", [413], oversized, token: token)
        }
        #expect(try await stored(chat) == before)
        #expect(await chat.service.stop())
    }

    @Test func queriesAreCheckedAndUnknownIDsAreNotFound() async throws {
        let chat = try await Chat.shared()
        let alice = try await chat.person("alice")
        for path in ["/v1/orders", "/v1/conversations", "/v1/brands"] {
            for query in ["limit=0", "limit=101", "limit=x", "limit=-1", "cursor=x", "cursor=1_x", "cursor=%00"] {
                let answer = try await chat.call(.get, "\(path)?\(query)", token: alice.token)
                #expect(answer.status == 400, "\(path)?\(query)")
                #expect(answer.wrongFields == [String(query.prefix { $0 != "=" })])
            }
        }
        for path in [
            "/v1/accounts/\(AccountID.random())", "/v1/accounts/x", "/v1/orders/\(OrderID.random())", "/v1/orders/1",
            "/v1/conversations/\(ConversationID.random())/messages", "/v1/brands/\(alice.id)/posts",
            "/v1/brands/x/posts",
            "/v1/nothing", "/v2/orders",
        ] {
            #expect(try await chat.call(.get, path, token: alice.token).status == 404, "\(path)")
        }
        #expect(try await chat.call(.delete, "/v1/orders", token: alice.token).status == 405)
    }

    /// Whether replacing one by the other may well be right.
    private func sameKind(_ one: DocumentTree, _ other: DocumentTree) -> Bool {
        switch (one, other) {
        case (.string(let text), .string): !text.isEmpty && !text.contains("\u{0}") && text.utf8.count < 9000
        case (.integer(let number), .integer): (1...100).contains(number)
        default: false
        }
    }

    private func text(_ tree: DocumentTree) -> String {
        switch tree {
        case .null: "null"
        case .boolean(let flag): "\(flag)"
        case .integer(let number): "\(number)"
        case .number(let number): "\(number)"
        case .string(let text):
            "\""
                + text.unicodeScalars.map {
                    $0.value < 32 ? "\\u00" + String($0.value / 16) + String($0.value % 16, radix: 16) : String($0)
                }
                .joined() + "\""
        case .array(let elements): "[" + elements.map(text).joined(separator: ",") + "]"
        case .object(let members):
            "{" + members.map { "\"\($0.key)\":\(text($0.value))" }.joined(separator: ",") + "}"
        }
    }
}

@Suite struct DocumentTests {
    @Test func theDocumentIsSoundAndDescribesTheRoutes() async throws {
        let chat = try await Chat.shared()
        #expect(chat.document.problems == [])
        #expect(chat.document.problems(of: chat.service.service.endpoints) == [])
        for route in chat.service.service.endpoints {
            let statuses = chat.document.statuses(method: route.method.rawValue, path: route.pattern)
            #expect(statuses.contains { $0.hasPrefix("2") })
            #expect(statuses.contains("503"), "\(route.pattern)")
        }
        let limits = chat.service.service.endpoints.map { ("\($0.method.rawValue) \($0.pattern)", $0.bodyBytesMax) }
        for (operation, limit) in limits where chat.document.bodyLimits[operation] != nil {
            #expect(chat.document.bodyLimits[operation] == limit, "\(operation)")
        }
    }
}
