// Routes of products. Brands write; whoever has an account reads.
import HTTP
import JSON
import Models
import Postgres
import Security
import ServiceKit

struct ProductRoutes: Sendable {
    let postgres: PostgresPool
    let commands: ProductCommands

    func create(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        let plan = try request.json(ProductPlan.init(json:))
        let command = try IdempotentCommand.optional(
            request, by: caller.sub, name: "product", content: request.body)
        return try await commands.create(plan, by: caller.sub, once: command).response
    }

    func list(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        let brand = try request.queryIdentifier("brandId", of: BrandID.self)
        let page = try Page(request.query, of: "products", [brand?.description])
        let cursor = try page.position { ProductID($0) }
        let products = try ProductStatements.productRow.all(
            try await postgres.query(ProductStatements.list(before: cursor, of: brand, limit: page.limit + 1)))
        return .json(200, JSONWriter.document(page.slice(products) { "\($0.productId)" }))
    }

    func one(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        let id = try request.identifier("id", of: ProductID.self)
        let rows = try await postgres.query(ProductStatements.find(id))
        guard let product = try ProductStatements.productRow.first(rows) else { throw Problem.notFound() }
        return .json(200, JSONWriter.document(product))
    }
}

extension ProductCommands.Refusal: ProblemConvertible {
    var problem: Problem {
        switch self {
        case .faults(let faults): .unprocessable(fields: faults.map(\.problem))
        }
    }
}

extension ProductPlan {
    /// A member that is not known is refused: misspelt, it would change what is sold.
    init(json: JSONValue) throws(JSONError) {
        try json.onlyMembers(["name", "variants"])
        self.init(
            name: try json.localizedText("name"),
            variants: try json.list("variants", countMax: Product.variantsMax) { (variant) throws(JSONError) in
                try variant.onlyMembers(["code", "title"])
                return Product.Variant(
                    code: try variant.variantCode("code"), title: try variant.localizedText("title"))
            })
    }
}
