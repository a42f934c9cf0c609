// Opens conversations.
import Models
import Postgres

struct ConversationCommands: Sendable {
    enum Refusal: Error, Equatable, Sendable {
        case withOneself
        case noAccount
        /// Nobody has the handle.
        case noHandle
        /// There is no such conversation, or the caller is no member: others' are not even there.
        case noConversation
    }

    let postgres: PostgresPool
    let now: @Sendable () -> Timestamp

    /// The conversation with whoever has a handle, in whichever case it is typed.
    func open(_ one: AccountID, withHandle handle: String) async throws -> (conversation: Conversation, isNew: Bool) {
        guard let name = AccountRules.handle(handle),
            let other = try AccountStatements.accountRow.first(
                await postgres.query(AccountStatements.one(handle: name)))
        else { throw Refusal.noHandle }
        return try await open(one, with: other.accountId)
    }

    /// The conversation of two accounts, made unless there is one.
    func open(
        _ one: AccountID, with other: AccountID
    ) async throws -> (conversation: Conversation, isNew: Bool) {
        guard other != one else { throw Refusal.withOneself }
        guard try await !postgres.query(AccountStatements.one(other)).isEmpty else { throw Refusal.noAccount }
        let id = DerivedIdentifiers.conversation(one, other)
        let isNew = try await postgres.execute(ConversationStatements.open(id, one, other, at: now())) > 0
        guard let conversation = try await postgres.conversation(id) else { throw Refusal.noConversation }
        return (conversation, isNew)
    }

    /// - Throws: `noConversation`.
    func read(_ id: ConversationID, by account: AccountID, upTo sequence: Int64) async throws {
        let conversation = try await postgres.conversation(id, of: account)
        guard conversation.read(by: account) < min(sequence, conversation.lastSequence) else { return }
        try await postgres.execute(ConversationStatements.read(id, by: account, upTo: sequence))
    }
}

extension PostgresPool {
    func conversation(_ id: ConversationID) async throws -> Conversation? {
        try ConversationStatements.conversationRow.first(try await query(ConversationStatements.one(id)))
    }

    /// - Throws: `noConversation` where the account is no member.
    func conversation(_ id: ConversationID, of account: AccountID) async throws -> Conversation {
        guard let conversation = try await conversation(id), conversation.isMember(account) else {
            throw ConversationCommands.Refusal.noConversation
        }
        return conversation
    }
}
