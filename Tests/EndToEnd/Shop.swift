// What the browser's tests need done by somebody else: the brand, the operator, the same person elsewhere.
import Foundation
import HTTP
import JSON
import Models
import Observability
import Postgres
import TestSupport

@testable import StampedeCore

/// The demonstration's brand, on a stack that runs.
struct Shop: Sendable {
    let origin: String
    let brand: Demonstration.Member
    private let stack: Stack
    private let api: APIClient
    private let demonstration: Demonstration

    init(_ stack: Stack) async throws {
        origin = "http://127.0.0.1:\(stack.port("GATEWAY"))"
        self.stack = stack
        api = APIClient(client: try HTTPClient(), baseURL: origin)
        demonstration = Demonstration(api: api, operatorSecret: stack.secret("operator"))
        brand = try await demonstration.prepare()
    }

    func get(_ path: String, _ headers: [(String, String)] = []) async throws -> ClientResponse {
        try await api.response(.get, path, headers: headers)
    }

    func announceSale(opensIn seconds: Int64) async throws {
        let noon = WallClock.now().adding(seconds: seconds)
        try await demonstration.openSale(of: brand, at: noon, closesAt: noon.adding(seconds: 3600))
    }

    private func tree(
        _ method: HTTPMethod, _ path: String, _ token: String, _ headers: [(String, String)] = [], _ body: [UInt8] = [],
        retrying: Set<Int> = [429, 503]
    ) async throws -> DocumentTree {
        let answer = try await api.response(
            method, path, token: token, headers: headers, body: body, retrying: retrying)
        guard (200...299).contains(answer.status) else {
            throw APIClient.Refusal(method: method, path: path, status: answer.status, body: answer.body)
        }
        return answer.body.isEmpty ? .null : try DocumentTree(json: answer.body)
    }

    private func signIn(_ handle: String, _ password: String) async throws -> (id: String, token: String) {
        let answer = try await tree(
            .post, "/v1/sessions", "", [],
            JSONWriter.object {
                $0.field("handle", handle)
                $0.field("password", password)
            })
        guard let id = answer["account"]?["accountId"]?.string, let token = answer["accessToken"]?.string else {
            throw Browser.Failure("\(handle) could not sign in")
        }
        return (id, token)
    }

    /// 5,000.00 yuan.
    func topUp(_ handle: String, _ password: String) async throws {
        let secret = stack.secret("operator")
        let session = try await tree(
            .post, "/v1/operator/session", "", [], JSONWriter.object { $0.field("secret", secret) })
        let account = try await signIn(handle, password).id
        _ = try await tree(
            .post, "/v1/operator/topups", session["accessToken"]?.string ?? "",
            [("Idempotency-Key", UUID().uuidString)],
            JSONWriter.object {
                $0.name("items")
                $0.array {
                    $0.object {
                        $0.field("accountId", account)
                        $0.field("amount", Money(500_000, .cny))
                    }
                }
            }, retrying: [409, 422, 429, 503])
    }

    func endSessions(_ handle: String, _ password: String) async throws {
        _ = try await tree(.delete, "/v1/sessions", try await signIn(handle, password).token)
    }

    /// The brand says something to somebody. Answers the conversation's ID.
    @discardableResult
    func write(to handle: String, password: String, _ text: String) async throws -> String {
        let account = try await signIn(handle, password).id
        let opened = try await tree(
            .post, "/v1/conversations", brand.token, [], JSONWriter.object { $0.field("accountId", account) })
        guard let id = opened["conversationId"]?.string else { throw Browser.Failure("no conversation") }
        _ = try await tree(
            .post, "/v1/conversations/\(id)/messages", brand.token, [],
            JSONWriter.object {
                $0.field("clientMessageId", UUID().uuidString)
                $0.field("kind", "text")
                $0.field("text", text)
            })
        return id
    }

    func messages(of conversation: String) async throws -> [String] {
        try await tree(.get, "/v1/conversations/\(conversation)/messages", brand.token)["items"]?.elements
            .compactMap { $0["text"]?.string } ?? []
    }

    /// Puts messages of the brand's into the schema: sent one by one they would take minutes.
    func fill(_ conversation: String, with count: Int64) async throws {
        let pool = try PostgresPool(
            dsn: try stack.settings().dsn(.messaging), connectionsMax: 1, applicationName: "test",
            log: Logger(service: "test", level: .error), metrics: Metrics())
        try await pool.execute(
            """
            INSERT INTO messages (conversation_id, sequence, message_id, sender_id, recipient_id, kind, body, sent_at)
            SELECT m.conversation_id, n, gen_random_uuid(), m.sender_id, m.recipient_id, 'text', 'message ' || n,
                m.sent_at + n * interval '1 millisecond'
            FROM messages m CROSS JOIN generate_series(2, \(count)) n
            WHERE m.conversation_id = \(conversation)::uuid AND m.sequence = 1
            """)
        try await pool.execute(
            """
            UPDATE conversations SET last_sequence = \(count) WHERE conversation_id = \(conversation)::uuid
            """)
        await pool.close()
    }

    /// Of the brand's newest sale.
    func saleAddress() async throws -> String {
        let sales = try await tree(.get, "/v1/sales?brandId=\(brand.id)&limit=1", brand.token)
        guard let id = sales["items"]?.elements.first?["saleId"]?.string else { throw Browser.Failure("no sale") }
        return "sales/\(id)"
    }

    /// Every page of the brand's own, once it has a sale.
    func brandPages() async throws -> [(String, String)] {
        let sales = try await tree(.get, "/v1/sales?brandId=\(brand.id)&limit=1", brand.token)
        guard let sale = sales["items"]?.elements.first?["saleId"]?.string else { throw Browser.Failure("no sale") }
        return [
            ("console", ".list .line"), ("console/plan", ".line-plan"), ("console/product", "[name=code]"),
            ("console/\(sale)", ".planning .remark"),
        ]
    }

    /// Every page of somebody who has bought something, with what shows that it is there.
    func pages(_ handle: String = "carol", _ password: String = "correct horse battery") async throws -> [(
        String, String
    )] {
        let token = try await signIn(handle, password).token
        let order = try await tree(.get, "/v1/orders", token)["items"]?.elements.first
        let conversation = try await tree(.get, "/v1/conversations", token)["items"]?.elements.first {
            $0["with"]?["accountId"]?.string == brand.id.description
        }
        guard let id = order?["orderId"]?.string, let sale = order?["saleId"]?.string,
            let chat = conversation?["conversationId"]?.string
        else { throw Browser.Failure("\(handle) has bought nothing") }
        return [
            ("chats", ".line"), ("chats/\(chat)", ".message .order-card"), ("brands", ".line"),
            ("brands/\(brand.id)", ".post .goods"), ("sales/\(sale)", ".sale .order-state"), ("orders", ".line"),
            ("orders/\(id)", ".order-state"), ("wallet", ".rows .sum"), ("me", ".rows .icon-device"),
        ]
    }
}
