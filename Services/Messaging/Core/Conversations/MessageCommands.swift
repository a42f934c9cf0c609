// Sends messages: those that arrive while a transaction runs share the next one.
import EventPipeline
import Models
import Observability
import Postgres
import ServiceKit

/// What a person writes: a text, or a goods card with or without one.
struct MessageContent: Sendable {
    let clientMessageId: String
    let kind: MessageSent.Kind
    let text: String
    let saleId: SaleID?
}

/// Why a message or a post is not stored.
enum MessageRefusal: Error, Equatable, Sendable {
    case unknownSale
    /// Its `clientMessageId` belongs to another.
    case idReused
    /// It was there a moment ago and is not any more.
    case gone
}

struct MessageCommands: Sendable {
    private struct Sending: Sendable {
        let message: NewMessage
        let trace = TraceContext.current
    }

    private typealias Sent = (message: MessageSent, isNew: Bool)

    private let postgres: PostgresPool
    private let now: @Sendable () -> Timestamp
    private let sales: SaleTables
    private let committed: @Sendable () -> Void
    private let group: GroupCommit<Sending, Sent>

    init(
        _ context: ServiceContext, relay: Relay, sales: SaleTables, committed: @escaping @Sendable () -> Void
    ) {
        postgres = context.postgres
        now = context.now
        self.sales = sales
        self.committed = committed
        group = GroupCommit(relay: relay) { try await Self.send($0, $1) }
    }

    /// - Throws: `MessageRefusal`, `ConversationCommands.Refusal`, or `Overloaded` when too many wait.
    func send(
        _ content: MessageContent, in id: ConversationID, by sender: AccountID
    ) async throws -> (message: MessageSent, isNew: Bool) {
        let conversation = try await postgres.conversation(id, of: sender)
        try sales.requireKnown(content.saleId)
        let message = NewMessage(
            messageId: DerivedIdentifiers.message(from: sender, in: id, content.clientMessageId),
            conversationId: id, senderId: sender, recipientId: conversation.other(than: sender), kind: content.kind,
            text: content.text, saleId: content.saleId, orderId: nil, isNotification: false, sentAt: now())
        let sent = try await group.submit(Sending(message: message))
        committed()
        return sent
    }

    private static func send(_ sendings: [Sending], _ unit: UnitOfWork) async throws -> [Result<Sent, any Error>] {
        var first: Set<MessageID> = []
        let messages = sendings.map(\.message).filter { first.insert($0.messageId).inserted }
        let sequences = try await store(messages, in: unit.transaction)
        var stored: [MessageID: MessageSent] = [:]
        if sequences.count < messages.count {
            let known = messages.map(\.messageId).filter { sequences[$0] == nil }
            let rows = try await unit.transaction.query(MessageStatements.find(known))
            for message in try MessageStatements.messageRow.all(rows) { stored[message.messageId] = message }
        }
        return sendings.map { sending in
            let wanted = sending.message
            var isNew = false
            if stored[wanted.messageId] == nil, let sequence = sequences[wanted.messageId] {
                let message = wanted.stored(at: sequence)
                stored[wanted.messageId] = message
                isNew = true
                unit.publish(
                    .messages, key: message.conversationId, id: message.messageId.description, message,
                    cause: sending.trace)
            }
            guard let message = stored[wanted.messageId] else { return .failure(MessageRefusal.gone) }
            guard wanted.isSaid(by: message) else { return .failure(MessageRefusal.idReused) }
            return .success((message, isNew))
        }
    }

    /// Gives each message the next number of its conversation, in the order given, and stores it. Conversations that
    /// do not exist yet are made. Messages that are stored already are left out: their IDs say so. So are those that tell
    /// of an order what a newer one overtook: one reader's notifications are stored by one transaction at a time.
    ///
    /// The conversations' rows are locked first, in the order of their IDs, so that two transactions cannot wait for one
    /// another; who holds the row gives the numbers, and only then looks which of the messages are there: what another
    /// transaction stored of the conversation meanwhile is seen. None of the statements has a join: the planner does not
    /// know how many there are, and a join that it took for small cost more than all the rest.
    /// - Parameter messages: no ID twice.
    /// - Returns: the sequence of each message that is new, by its ID.
    static func store(_ messages: [NewMessage], in transaction: Transaction) async throws -> [MessageID: Int64] {
        if messages.isEmpty { return [:] }
        let reserved = MessageNumbers(of: messages)
        var statements = [
            ConversationStatements.reserve(reserved), MessageStatements.known(messages.map(\.messageId)),
        ]
        let orders = Set(messages.lazy.filter { $0.orderPlace != nil }.compactMap(\.orderId))
        if !orders.isEmpty { statements.append(MessageStatements.lastPlaces(of: orders)) }
        let answers = try await transaction.pipeline(statements)
        let known = Set(try answers[1].column(0, as: MessageID.self))
        var told: [OrderID: Int64] = [:]
        if !orders.isEmpty {
            for (order, place) in try MessageStatements.placeRow.all(answers[2]) { told[order] = place }
        }
        let new =
            known.isEmpty && told.isEmpty
            ? messages
            : messages.filter { message in
                if known.contains(message.messageId) { return false }
                guard let place = message.orderPlace, let last = message.orderId.flatMap({ told[$0] }) else {
                    return true
                }
                return place.number >= last
            }
        var next: [ConversationID: Int64] = [:]
        next.reserveCapacity(answers[0].count)
        for (id, last) in try ConversationStatements.numberRow.all(answers[0]) {
            next[id] = last - (reserved.counts[id]?.count ?? 0) + 1
        }
        if new.count < messages.count {
            try await transaction.execute(
                ConversationStatements.giveBack(reserved, except: MessageNumbers(of: new), next))
        }
        if new.isEmpty { return [:] }

        var sequences: [MessageID: Int64] = [:]
        sequences.reserveCapacity(new.count)
        for message in new {
            let sequence = next[message.conversationId, default: 1]
            next[message.conversationId] = sequence + 1
            sequences[message.messageId] = sequence
        }
        try await transaction.execute(MessageStatements.insert(new, sequences))
        return sequences
    }
}

extension SaleTables {
    func requireKnown(_ id: SaleID?) throws(MessageRefusal) {
        guard let id, sale(id) == nil else { return }
        throw .unknownSale
    }
}
