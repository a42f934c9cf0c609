// Routes of what brands post.
import HTTP
import JSON
import Models
import Postgres
import Security
import ServiceKit

struct PostRoutes: Sendable {
    let postgres: PostgresPool
    let sales: SaleTables
    let commands: PostCommands

    func post(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        let content = try request.json(PostContent.init(json:))
        let (post, isNew) = try await commands.post(content, of: try request.identifier("id"), by: caller.sub)
        return .json(isNew ? 201 : 200, JSONWriter.document(PostView(post: post, sales: sales)))
            .with("Location", "/v1/brands/\(post.brandId)/posts?after=\(post.sequence - 1)")
    }

    func list(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        let page = try NumberedPage(request.query)
        let brand = try request.identifier("id", of: BrandID.self)
        try await postgres.requireBrand(brand)
        let posts = try PostStatements.postRow.all(
            try await postgres.query(PostStatements.list(of: brand, after: page.after, countMax: page.limit + 1)))
        let views = posts.map { PostView(post: $0, sales: sales) }
        return .json(200, JSONWriter.document(page.slice(views) { $0.post.sequence }))
    }
}

extension PostContent {
    init(json: JSONValue) throws(JSONError) {
        try json.onlyMembers(["clientMessageId", "kind", "text", "saleId"])
        let (kind, saleId) = try json.messageKind()
        self.init(
            clientMessageId: try json.string(
                "clientMessageId", charactersMax: MessageRoutes.clientMessageIdCharactersMax),
            kind: kind, text: try json.localizedText("text", charactersMax: MessageSent.textCharactersMax),
            saleId: saleId)
    }
}

extension PostCommands.Refusal: ProblemConvertible {
    var problem: Problem {
        switch self {
        case .anotherBrand: .forbidden("Only the brand itself posts.")
        }
    }
}
