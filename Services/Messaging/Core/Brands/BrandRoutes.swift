// Brands, their followers and their posts.
import EventPipeline
import HTTP
import JSON
import Models
import Postgres
import ServiceKit

struct BrandRoutes: Sendable {
    private let context: ServiceContext
    private let door: Doorkeeper
    private let relay: Relay
    private let hub: LiveHub
    private let representation: Representation
    private let storage: BrandStorage

    init(
        _ context: ServiceContext, door: Doorkeeper, relay: Relay, hub: LiveHub, representation: Representation
    ) {
        self.context = context
        self.door = door
        self.relay = relay
        self.hub = hub
        self.representation = representation
        storage = BrandStorage(postgres: context.postgres)
    }

    var routes: [Route] {
        [
            Route(.get, "/v1/brands") { try await list($0) },
            Route(.put, "/v1/brands/{id}/follow") { try await follow($0) },
            Route(.delete, "/v1/brands/{id}/follow") { try await unfollow($0) },
            // A text in up to 32 languages.
            Route(.post, "/v1/brands/{id}/posts", bodyBytesMax: 512 << 10) { try await post($0) }
                .admitting { try door.caller($0).require(.brand) },
            Route(.get, "/v1/brands/{id}/posts") { try await posts($0) },
        ]
    }

    private func list(_ request: HTTPRequest) async throws -> HTTPResponse {
        let claims = try door.caller(request)
        let page = try Page(request.query, of: "brands")
        let brands = try await storage.brands(
            for: claims.sub, after: try page.position { BrandID($0) }, limit: page.limit + 1)
        let slice = page.slice(brands) { $0.account.accountId.description }
        return Representation.page(slice.elements, next: slice.nextCursor) { brand, writer in
            writer.object {
                $0.field("brandId", brand.account.accountId)
                $0.field("handle", optional: brand.account.handle)
                $0.field("displayName", brand.account.displayName)
                $0.field("isFollowed", brand.isFollowed)
            }
        }
    }

    private func follow(_ request: HTTPRequest) async throws -> HTTPResponse {
        let claims = try door.member(request)
        try await storage.follow(try await brand(of: request), by: claims.sub, at: context.now())
        return .empty()
    }

    private func unfollow(_ request: HTTPRequest) async throws -> HTTPResponse {
        let claims = try door.member(request)
        try await storage.unfollow(try await brand(of: request), by: claims.sub)
        return .empty()
    }

    private func post(_ request: HTTPRequest) async throws -> HTTPResponse {
        let claims = try door.member(request)
        let (clientMessageID, kind, saleID, text) = try request.json { (json) throws(JSONError) in
            try json.onlyMembers(["clientMessageId", "kind", "text", "saleId"])
            let (kind, saleID) = try json.messageKind()
            return (
                try json.string("clientMessageId", charactersMax: ConversationRoutes.clientMessageIDCharactersMax),
                kind, saleID, try json.localizedText("text", charactersMax: MessageSent.textCharactersMax)
            )
        }
        let brand = try await brand(of: request)
        guard brand == claims.sub else { throw Problem.forbidden("Only the brand itself posts.") }
        try representation.tables.requireKnown(saleID)
        let new = NewPost(
            messageID: DerivedIdentifiers.post(of: brand, clientMessageID), brandID: brand, kind: kind, text: text,
            saleID: saleID, isNotification: false, sentAt: context.now())
        let (post, isNew) = try await store(new, request)
        guard post.kind == kind, post.text == text, post.saleId == saleID else { throw Problem.clientMessageIDReused }
        hub.wake()
        return Representation.document(isNew ? 201 : 200) { representation.write(post, to: &$0) }
            .with("Location", "/v1/brands/\(brand)/posts?after=\(post.sequence - 1)")
    }

    private func store(_ new: NewPost, _ request: HTTPRequest) async throws -> (BrandPosted, isNew: Bool) {
        try await relay.commit { step in
            if let sequence = try await BrandStorage.store([new], in: step.transaction)[new.messageID] {
                let post = new.stored(at: sequence)
                step.publish(
                    .messages, key: post.brandId, id: post.messageId.description, post, cause: request.trace)
                return (post, true)
            }
            guard let post = try await BrandStorage.stored(new.messageID, in: step.transaction) else {
                throw Problem.unavailable(retryAfterSeconds: 1)
            }
            return (post, false)
        }
    }

    private func posts(_ request: HTTPRequest) async throws -> HTTPResponse {
        _ = try door.caller(request)
        let query = request.query
        let limit = try Page.limit(query)
        let after = try request.after(query)
        let posts = try await storage.posts(of: try await brand(of: request), after: after, limit: limit + 1)
        let slice = Page.numbered(posts, limit: limit) { "\($0.sequence)" }
        return Representation.page(slice.elements, next: slice.nextCursor) { representation.write($0, to: &$1) }
    }

    private func brand(of request: HTTPRequest) async throws -> BrandID {
        let id = try request.identifier("id", of: BrandID.self)
        guard try await storage.isBrand(id) else { throw Problem.notFound() }
        return id
    }
}
