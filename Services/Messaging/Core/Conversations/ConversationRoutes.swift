// Direct conversations and their messages.
import EventPipeline
import HTTP
import JSON
import Models
import Observability
import Postgres
import ServiceKit

struct ConversationRoutes: Sendable {
    static let clientMessageIDCharactersMax = 64
    private static let attemptsMax = 3

    private struct Sending: Sendable {
        let message: NewMessage
        let trace: TraceContext
    }

    private struct Sent: Sendable {
        let message: MessageSent
        let isNew: Bool
    }

    private let context: ServiceContext
    private let door: Doorkeeper
    private let tables: SaleTables
    private let hub: LiveHub
    private let representation: Representation
    private let accounts: AccountStorage
    private let storage: MessageStorage
    private let desk: GroupCommit<Sending, Sent>

    init(
        _ context: ServiceContext, door: Doorkeeper, relay: Relay, hub: LiveHub, representation: Representation
    ) {
        self.context = context
        self.door = door
        self.hub = hub
        self.representation = representation
        tables = representation.tables
        accounts = AccountStorage(postgres: context.postgres)
        storage = MessageStorage(postgres: context.postgres)
        desk = GroupCommit(relay: relay, body: Self.store)
    }

    var routes: [Route] {
        [
            Route(.post, "/v1/conversations") { try await open($0) },
            Route(.get, "/v1/conversations") { try await list($0) },
            Route(.get, "/v1/conversations/{id}/messages") { try await messages($0) },
            // A text of the most characters, each of them escaped.
            Route(.post, "/v1/conversations/{id}/messages", bodyBytesMax: 128 << 10) { try await send($0) },
        ]
    }

    private func open(_ request: HTTPRequest) async throws -> HTTPResponse {
        let claims = try door.member(request)
        let other = try request.json { (json) throws(JSONError) in
            try json.onlyMembers(["accountId"])
            return try json.identifier("accountId", of: AccountID.self)
        }
        guard other != claims.sub else {
            throw Problem.unprocessable(fields: [FieldProblem("accountId", expected: "another's account")])
        }
        guard try await accounts.exists(other) else {
            throw Problem.unprocessable(fields: [FieldProblem("accountId", expected: "an account")])
        }
        let id = DerivedIdentifiers.conversation(claims.sub, other)
        let isNew = try await storage.open(id, claims.sub, other, at: context.now())
        guard let conversation = try await storage.conversation(id) else { throw Problem.notFound() }
        return Representation.document(isNew ? 201 : 200) {
            Representation.write(conversation, for: claims.sub, to: &$0)
        }.with("Location", "/v1/conversations/\(id)/messages")
    }

    private func list(_ request: HTTPRequest) async throws -> HTTPResponse {
        let claims = try door.member(request)
        let page = try Page(request.query, of: "conversations", [claims.sub.description])
        let before = try page.position { TimedPosition<ConversationID>($0) }
        let found = try await storage.conversations(
            of: claims.sub, before: before.map { ($0.time, $0.id) }, limit: page.limit + 1)
        let slice = page.slice(found) {
            TimedPosition(time: $0.conversation.changedAt, id: $0.conversation.conversationID).description
        }
        return Representation.page(slice.elements, next: slice.nextCursor) {
            representation.write($0, for: claims.sub, to: &$1)
        }
    }

    private func messages(_ request: HTTPRequest) async throws -> HTTPResponse {
        let claims = try door.member(request)
        let query = request.query
        let limit = try Page.limit(query)
        let after = try request.after(query)
        let conversation = try await conversation(of: request, claims.sub)
        let messages = try await storage.messages(of: conversation.conversationID, after: after, limit: limit + 1)
        let slice = Page.numbered(messages, limit: limit) { "\($0.sequence)" }
        return Representation.page(slice.elements, next: slice.nextCursor) { representation.write($0, to: &$1) }
    }

    private func send(_ request: HTTPRequest) async throws -> HTTPResponse {
        let claims = try door.member(request)
        let (clientMessageID, content) = try request.json { (json) throws(JSONError) in
            try json.onlyMembers(["clientMessageId", "kind", "text", "saleId"])
            return (
                try json.string("clientMessageId", charactersMax: Self.clientMessageIDCharactersMax),
                try MessageContent(json)
            )
        }
        let conversation = try await conversation(of: request, claims.sub)
        try content.requireKnownSale(tables)
        let message = NewMessage(
            messageID: DerivedIdentifiers.message(
                from: claims.sub, in: conversation.conversationID, clientMessageID),
            conversationID: conversation.conversationID, senderID: claims.sub,
            recipientID: conversation.other(than: claims.sub), kind: content.kind, text: content.text,
            saleID: content.saleID, orderID: nil, isNotification: false, sentAt: context.now())
        let sent = try await submit(Sending(message: message, trace: request.trace))
        hub.wake()
        return Representation.document(sent.isNew ? 201 : 200) { representation.write(sent.message, to: &$0) }
            .with(
                "Location",
                "/v1/conversations/\(conversation.conversationID)/messages?after=\(sent.message.sequence - 1)")
    }

    /// A group that lost a race is committed once more.
    private func submit(_ sending: Sending) async throws -> Sent {
        for _ in 1..<Self.attemptsMax {
            do { return try await desk.submit(sending) } catch let error as PostgresError
                where error.isRetriable && !error.isUnavailable
            {
                continue
            }
        }
        return try await desk.submit(sending)
    }

    private static func store(_ sendings: [Sending], _ step: Step) async throws -> [Result<Sent, any Error>] {
        var first: Set<MessageID> = []
        let messages = sendings.map(\.message).filter { first.insert($0.messageID).inserted }
        let sequences = try await MessageStorage.store(messages, in: step.transaction)
        var stored: [MessageID: MessageSent] = [:]
        if sequences.count < messages.count {
            let known = messages.map(\.messageID).filter { sequences[$0] == nil }
            for message in try await MessageStorage.stored(known, in: step.transaction) {
                stored[message.messageId] = message
            }
        }
        return sendings.map { sending in
            let wanted = sending.message
            var isNew = false
            if stored[wanted.messageID] == nil, let sequence = sequences[wanted.messageID] {
                let message = wanted.stored(at: sequence)
                stored[wanted.messageID] = message
                isNew = true
                step.publish(
                    .messages, key: message.conversationId, id: message.messageId.description, message,
                    cause: sending.trace)
            }
            guard let message = stored[wanted.messageID] else {
                return .failure(Problem.unavailable(retryAfterSeconds: 1))
            }
            guard message.kind == wanted.kind, message.text.utf8.elementsEqual(wanted.text.utf8),
                message.saleId == wanted.saleID
            else {
                return .failure(Problem.clientMessageIDReused)
            }
            return .success(Sent(message: message, isNew: isNew))
        }
    }

    /// A conversation of the caller's. Others' are not even there.
    private func conversation(of request: HTTPRequest, _ account: AccountID) async throws -> Conversation {
        let id = try request.identifier("id", of: ConversationID.self)
        guard let conversation = try await storage.conversation(id), conversation.isMember(account) else {
            throw Problem.notFound()
        }
        return conversation
    }
}

/// What a person writes: a text, or a goods card with or without one.
struct MessageContent: Sendable {
    let kind: MessageSent.Kind
    let text: String
    let saleID: SaleID?

    init(_ json: JSONValue) throws(JSONError) {
        (kind, saleID) = try json.messageKind()
        text =
            kind == .text
            ? try json.string("text", charactersMax: MessageSent.textCharactersMax)
            : try json.optionalString("text", charactersMax: MessageSent.textCharactersMax) ?? ""
    }

    func requireKnownSale(_ tables: SaleTables) throws(Problem) { try tables.requireKnown(saleID) }
}

extension SaleTables {
    func requireKnown(_ id: SaleID?) throws(Problem) {
        guard let id, sale(id) == nil else { return }
        throw .unprocessable(fields: [FieldProblem("saleId", expected: "a published sale")])
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

extension Problem {
    static let clientMessageIDReused = Problem(
        422, type: "client-message-id-reused", title: "The clientMessageId belongs to another message")
}
