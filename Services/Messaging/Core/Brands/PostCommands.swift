// Stores posts, each under the next number of its brand.
import EventPipeline
import Models
import Postgres
import ServiceKit

/// What a brand posts: a text in some languages, or a goods card with one.
struct PostContent: Sendable {
    let clientMessageId: String
    let kind: MessageSent.Kind
    let text: LocalizedText
    let saleId: SaleID?
}

/// A post before it has a number.
struct NewPost: Sendable, Equatable {
    let messageId: MessageID
    let brandId: BrandID
    let kind: MessageSent.Kind
    let text: LocalizedText
    let saleId: SaleID?
    let isNotification: Bool
    let sentAt: Timestamp

    func stored(at sequence: Int64) -> BrandPosted {
        BrandPosted(
            messageId: messageId, brandId: brandId, sequence: sequence, kind: kind, text: text, saleId: saleId,
            sentAt: sentAt)
    }

    /// Whether a stored post says the same.
    func isSaid(by post: BrandPosted) -> Bool { post.kind == kind && post.text == text && post.saleId == saleId }
}

struct PostCommands: Sendable {
    enum Refusal: Error, Equatable, Sendable {
        /// The brand is another.
        case anotherBrand
    }

    let postgres: PostgresPool
    let now: @Sendable () -> Timestamp
    let relay: Relay
    let sales: SaleTables
    let committed: @Sendable () -> Void

    /// - Throws: `Refusal`, `MessageRefusal`, or `BrandCommands.Refusal`.
    func post(
        _ content: PostContent, of brand: BrandID, by caller: AccountID
    ) async throws -> (post: BrandPosted, isNew: Bool) {
        try await postgres.requireBrand(brand)
        guard brand == caller else { throw Refusal.anotherBrand }
        try sales.requireKnown(content.saleId)
        let new = NewPost(
            messageId: DerivedIdentifiers.post(of: brand, content.clientMessageId), brandId: brand, kind: content.kind,
            text: content.text, saleId: content.saleId, isNotification: false, sentAt: now())
        let (post, isNew) = try await relay.commit { unit in try await Self.post(new, unit) }
        guard new.isSaid(by: post) else { throw MessageRefusal.idReused }
        committed()
        return (post, isNew)
    }

    private static func post(_ new: NewPost, _ unit: UnitOfWork) async throws -> (post: BrandPosted, isNew: Bool) {
        if let sequence = try await store([new], in: unit.transaction)[new.messageId] {
            let post = new.stored(at: sequence)
            unit.publish(.messages, key: post.brandId, id: post.messageId.description, post)
            return (post, true)
        }
        let rows = try await unit.transaction.query(PostStatements.find([new.messageId]))
        guard let post = try PostStatements.postRow.first(rows) else { throw MessageRefusal.gone }
        return (post, false)
    }

    /// Gives each post the next number of its brand, in the order given; leaves out what is stored already. Who holds the
    /// brand's counter looks what that is, so that the same post stored twice at a time is one.
    /// - Returns: the number of each post that is new, by its ID.
    static func store(_ posts: [NewPost], in transaction: Transaction) async throws -> [MessageID: Int64] {
        if posts.isEmpty { return [:] }
        let rows = try await transaction.pipeline([
            PostStatements.lockCounters(Set(posts.map(\.brandId))), PostStatements.insert(posts),
        ])
        return Dictionary(try PostStatements.numberRow.all(rows[1]), uniquingKeysWith: { $1 })
    }
}
