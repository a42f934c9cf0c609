// Routes of sales. Brands write; whoever has an account reads what is public.
import HTTP
import JSON
import Models
import Postgres
import Security
import ServiceKit

struct SaleRoutes: Sendable {
    let postgres: PostgresPool
    let commands: SaleCommands

    func create(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        let plan = try request.json(SalePlan.init(json:))
        let command = try IdempotentCommand.optional(request, by: caller.sub, name: "sale", content: request.body)
        let answer = try await commands.create(plan, by: caller.sub, once: command)
        let tag = EntityTag(of: answer.body, revision: SaleCommands.firstRevision)
        return answer.response.with("ETag", tag.text)
    }

    func list(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        let filter = SaleFilter(
            brand: try request.queryIdentifier("brandId"), product: try request.queryIdentifier("productId"),
            status: try request.queryChoice("status"))
        let page = try Page(
            request.query, of: "sales",
            [
                caller.sub.description, filter.brand?.description, filter.product?.description,
                filter.status?.rawValue,
            ])
        let cursor = try page.position { SaleID($0) }
        let sales = try SaleStatements.saleRow.all(
            try await postgres.query(
                SaleStatements.list(before: cursor, filter, for: caller.sub, limit: page.limit + 1)))
        return .json(200, JSONWriter.document(page.slice(try await views(sales)) { "\($0.stored.sale.saleId)" }))
    }

    /// A public sale, or the reader's own draft.
    func one(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        let stored = try await sale(try request.identifier("id"), for: caller.sub)
        return answer(try await views([stored])[0])
    }

    func change(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        let id = try request.identifier("id", of: SaleID.self)
        let plan = try request.json(SalePlan.init(json:))
        return answer(try await commands.change(id, to: plan, by: caller.sub, if: try Precondition(request)))
    }

    func delete(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        let id = try request.identifier("id", of: SaleID.self)
        try await commands.delete(id, by: caller.sub, if: try Precondition(request))
        return .empty()
    }

    func publish(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        let id = try request.identifier("id", of: SaleID.self)
        return answer(try await commands.publish(id, by: caller.sub, if: try Precondition(request)))
    }

    /// What became of a sale, newest first: for its brand alone.
    func changes(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        let id = try request.identifier("id", of: SaleID.self)
        let page = try Page(request.query, of: "sale-changes", [id.description])
        guard try await sale(id, for: caller.sub).sale.brandId == caller.sub else {
            throw SaleCommands.Refusal.notYours
        }
        let before = try page.position { Int64($0) } ?? Int64.max
        let changes = try SaleStatements.changeRow.all(
            try await postgres.query(SaleStatements.changes(id, before: before, limit: page.limit + 1)))
        return .json(200, JSONWriter.document(page.slice(changes) { "\($0.sale.revision)" }))
    }

    private func sale(_ id: SaleID, for reader: AccountID) async throws -> StoredSale {
        let rows = try await postgres.query(SaleStatements.find(id))
        guard let stored = try SaleStatements.saleRow.first(rows), stored.isVisible(to: reader) else {
            throw SaleCommands.Refusal.unknown
        }
        return stored
    }

    private func views(_ sales: [StoredSale]) async throws -> [SaleView] {
        if sales.isEmpty { return [] }
        let rows = try await postgres.query(AvailabilityStatements.soldOut(of: sales.map(\.sale.saleId)))
        return try SaleView.all(sales, soldOut: rows)
    }

    private func answer(_ sale: SaleView) -> HTTPResponse {
        .json(200, JSONWriter.document(sale)).with("ETag", sale.tag.text)
    }
}

extension SaleCommands.Refusal: ProblemConvertible {
    var problem: Problem {
        switch self {
        case .unknown: .notFound()
        case .notYours: .forbidden("It belongs to another brand.")
        case .faults(let faults): .unprocessable(fields: faults.map(\.problem))
        case .fixed(let faults):
            Problem(
                409, type: "sale-is-public", title: "What buyers rely on is fixed",
                detail: "The sale is public. Supply may rise and batches may be added.", fields: faults.map(\.problem))
        case .isPublished:
            Problem(409, type: "sale-is-public", title: "What buyers rely on is fixed", detail: "Only a draft can go.")
        }
    }
}

extension SalePlan {
    /// A member that is not known is refused: misspelt, it would change what is sold.
    init(json: JSONValue) throws(JSONError) {
        try json.onlyMembers(["productId", "title", "holdSeconds", "waitlistMax", "batches"])
        self.init(
            productId: try json.identifier("productId"), title: try json.localizedText("title"),
            holdSeconds: try json.integer("holdSeconds", in: 1...Sale.holdSecondsMax),
            waitlistMax: try json.integer("waitlistMax", in: 0...Sale.waitlistLimit),
            batches: try json.list("batches", countMax: Sale.batchesMax, Self.batch))
    }

    private static func batch(_ json: JSONValue) throws(JSONError) -> Sale.Batch {
        try json.onlyMembers(["number", "opensAt", "closesAt", "lines"])
        _ = try json.list("lines", countMax: Product.variantsMax) { (line) throws(JSONError) in
            try line.onlyMembers(["variant", "units", "price"])
            try line.read("price") { (price) throws(JSONError) in try price.onlyMembers(["amount", "currency"]) }
        }
        return try Sale.Batch(json: json)
    }
}
