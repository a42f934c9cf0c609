// The catalogue over HTTP. Brands write; whoever has an account reads.
import HTTP
import JSON
import Models
import Security
import ServiceKit

struct CatalogRoutes: Sendable {
    let desk: CatalogDesk
    let verifier: TokenVerifier
    let now: @Sendable () -> Timestamp

    /// A sale of the most lines with titles in a few languages.
    static let bodyBytesMax = 256 << 10

    var all: [Route] {
        [
            route(.post, "/v1/products") { request, claims in
                let brand = try claims.brand()
                let plan = try request.json(ProductPlan.init(json:))
                let command = try IdempotentCommand.optional(
                    request, by: brand, name: "product", content: request.body)
                return try await desk.createProduct(plan, by: brand, once: command).response
            },
            route(.get, "/v1/products") { request, _ in
                let query = request.query
                let brand: BrandID? = try Self.identifier("brandId", in: query)
                let page = try Page(query, of: "products", [brand?.description])
                return Self.json(try await desk.products(page, of: brand))
            },
            route(.get, "/v1/products/{id}") { request, _ in
                Self.json(try await desk.product(try request.identifier()))
            },
            route(.post, "/v1/sales") { request, claims in
                let brand = try claims.brand()
                let plan = try request.json(SalePlan.init(json:))
                let command = try IdempotentCommand.optional(request, by: brand, name: "sale", content: request.body)
                let answer = try await desk.createSale(plan, by: brand, once: command)
                let tag = EntityTag(of: answer.body, revision: CatalogDesk.firstRevision)
                return answer.response.with("ETag", tag.text)
            },
            route(.get, "/v1/sales") { request, claims in
                let query = request.query
                let filter = SaleFilter(
                    brand: try Self.identifier("brandId", in: query),
                    product: try Self.identifier("productId", in: query),
                    status: try Self.status(in: query))
                let page = try Page(
                    query, of: "sales",
                    [
                        claims.sub.description, filter.brand?.description, filter.product?.description,
                        filter.status?.rawValue,
                    ])
                return Self.json(try await desk.sales(page, filter, for: claims.sub))
            },
            route(.get, "/v1/sales/{id}") { request, claims in
                Self.tagged(try await desk.sale(try request.identifier(), for: claims.sub))
            },
            route(.put, "/v1/sales/{id}") { request, claims in
                let (brand, id) = (try claims.brand(), try request.identifier() as SaleID)
                let plan = try request.json(SalePlan.init(json:))
                return Self.tagged(try await desk.changeSale(id, to: plan, by: brand, if: try Precondition(request)))
            },
            route(.delete, "/v1/sales/{id}") { request, claims in
                let (brand, id) = (try claims.brand(), try request.identifier() as SaleID)
                try await desk.deleteDraft(id, by: brand, if: try Precondition(request))
                return .empty()
            },
            route(.post, "/v1/sales/{id}/publication") { request, claims in
                let (brand, id) = (try claims.brand(), try request.identifier() as SaleID)
                return Self.tagged(try await desk.publishSale(id, by: brand, if: try Precondition(request)))
            },
            route(.get, "/v1/sales/{id}/changes") { request, claims in
                let id: SaleID = try request.identifier()
                let page = try Page(request.query, of: "sale-changes", [id.description])
                return Self.json(try await desk.changes(of: id, page, for: claims.sub))
            },
        ]
    }

    /// A route for whoever has an access token; refusals become problems.
    private func route(
        _ method: HTTPMethod, _ pattern: String,
        _ handler: @escaping @Sendable (HTTPRequest, AccessClaims) async throws -> HTTPResponse
    ) -> Route {
        let isPlan = method == .post || method == .put
        let route = Route(method, pattern, bodyBytesMax: isPlan ? Self.bodyBytesMax : 16 << 10) { request in
            do {
                return try await handler(request, try request.claims(using: verifier, now: now()))
            } catch let refusal as CatalogRefusal {
                throw refusal.problem
            }
        }
        return isPlan ? route.admitting { _ = try $0.claims(using: verifier, now: now()).brand() } : route
    }

    private static func json(_ value: some JSONWritable) -> HTTPResponse { .json(200, JSONWriter.document(value)) }

    private static func tagged(_ sale: SaleView) -> HTTPResponse { json(sale).with("ETag", sale.tag.text) }

    private static func identifier<Kind>(
        _ name: String, in query: [String: String]
    ) throws(Problem) -> Identifier<Kind>? {
        guard let text = query[name] else { return nil }
        guard let id = Identifier<Kind>(text) else {
            throw .badRequest(fields: [FieldProblem(name, expected: "a UUID")])
        }
        return id
    }

    private static func status(in query: [String: String]) throws(Problem) -> SaleStatus? {
        guard let text = query["status"] else { return nil }
        guard let status = SaleStatus(rawValue: text) else {
            let known = SaleStatus.allCases.map(\.rawValue).joined(separator: ", ")
            throw .badRequest(fields: [FieldProblem("status", expected: "one of \(known)")])
        }
        return status
    }
}

extension HTTPRequest {
    /// The identifier in the path; what is none names nothing.
    fileprivate func identifier<Kind>() throws(Problem) -> Identifier<Kind> {
        guard let id = pathParameters["id"].flatMap({ Identifier<Kind>($0) }) else { throw .notFound() }
        return id
    }
}

extension AccessClaims {
    /// Who acts, who must be a brand.
    fileprivate func brand() throws -> BrandID {
        try require(.brand)
        return sub
    }
}

extension CatalogRefusal {
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

extension Fault {
    fileprivate var problem: FieldProblem { FieldProblem(field, expected: expected) }
}
