// Routes of the messages of a conversation.
import HTTP
import JSON
import Models
import Postgres
import Security
import ServiceKit

struct MessageRoutes: Sendable {
    static let clientMessageIdCharactersMax = 64

    let postgres: PostgresPool
    let sales: SaleTables
    let commands: MessageCommands

    func list(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        let page = try NumberedPage(request.query)
        let conversation = try await postgres.conversation(try request.identifier("id"), of: caller.sub)
        let messages = try MessageStatements.messageRow.all(
            try await postgres.query(
                MessageStatements.list(
                    of: conversation.conversationId, after: page.after, countMax: page.limit + 1)))
        let views = messages.map { MessageView(message: $0, sales: sales) }
        return .json(200, JSONWriter.document(page.slice(views) { $0.message.sequence }))
    }

    func send(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        let content = try request.json(MessageContent.init(json:))
        let (message, isNew) = try await commands.send(
            content, in: try request.identifier("id"), by: caller.sub)
        return .json(isNew ? 201 : 200, JSONWriter.document(MessageView(message: message, sales: sales)))
            .with("Location", "/v1/conversations/\(message.conversationId)/messages?after=\(message.sequence - 1)")
    }
}

extension MessageContent {
    init(json: JSONValue) throws(JSONError) {
        try json.onlyMembers(["clientMessageId", "kind", "text", "saleId"])
        let clientMessageId = try json.string(
            "clientMessageId", charactersMax: MessageRoutes.clientMessageIdCharactersMax)
        let (kind, saleId) = try json.messageKind()
        self.init(
            clientMessageId: clientMessageId, kind: kind,
            text: kind == .text
                ? try json.string("text", charactersMax: MessageSent.textCharactersMax)
                : try json.optionalString("text", charactersMax: MessageSent.textCharactersMax) ?? "",
            saleId: saleId)
    }
}

extension JSONValue {
    /// `kind`, `text` or `goodsCard`, and the sale that a card is of.
    func messageKind() throws(JSONError) -> (MessageSent.Kind, SaleID?) {
        switch try string("kind") {
        case MessageSent.Kind.text.rawValue:
            guard self["saleId"] == nil else { throw JSONError(path: "saleId", expected: "nothing with a text") }
            return (.text, nil)
        case MessageSent.Kind.goodsCard.rawValue:
            return (.goodsCard, try identifier("saleId", of: SaleID.self))
        default:
            throw JSONError(path: "kind", expected: "one of text, goodsCard")
        }
    }
}

extension MessageRefusal: ProblemConvertible {
    var problem: Problem {
        switch self {
        case .unknownSale: .unprocessable(fields: [FieldProblem("saleId", expected: "a published sale")])
        case .idReused:
            Problem(
                422, type: "client-message-id-reused", title: "The clientMessageId belongs to another message")
        case .gone: .unavailable(retryAfterSeconds: 1)
        }
    }
}
