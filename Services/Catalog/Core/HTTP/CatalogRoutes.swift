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
                let product = try await desk.createProduct(try request.json(ProductPlan.init(json:)), by: brand)
                return Self.made(product, at: "/v1/products/\(product.productId)")
            },
            route(.get, "/v1/products") { request, _ in
                let query = request.query
                let brand: BrandID? = try Self.identifier("brandId", in: query)
                return Self.json(try await desk.products(try Page(query), of: brand))
            },
            route(.get, "/v1/products/{id}") { request, _ in
                Self.json(try await desk.product(try request.identifier()))
            },
            route(.post, "/v1/sales") { request, claims in
                let brand = try claims.brand()
                let sale = try await desk.createSale(try request.json(SalePlan.init(json:)), by: brand)
                return Self.made(sale, at: "/v1/sales/\(sale.stored.sale.saleId)")
            },
            route(.get, "/v1/sales") { request, claims in
                let query = request.query
                let filter = SaleFilter(
                    brand: try Self.identifier("brandId", in: query),
                    product: try Self.identifier("productId", in: query),
                    status: try Self.status(in: query))
                return Self.json(try await desk.sales(try Page(query), filter, for: claims.sub))
            },
            route(.get, "/v1/sales/{id}") { request, claims in
                Self.json(try await desk.sale(try request.identifier(), for: claims.sub))
            },
            route(.put, "/v1/sales/{id}") { request, claims in
                let (brand, id) = (try claims.brand(), try request.identifier() as SaleID)
                return Self.json(try await desk.changeSale(id, to: try request.json(SalePlan.init(json:)), by: brand))
            },
            route(.delete, "/v1/sales/{id}") { request, claims in
                try await desk.deleteDraft(try request.identifier(), by: try claims.brand())
                return .empty()
            },
            route(.post, "/v1/sales/{id}/publication") { request, claims in
                Self.json(try await desk.publishSale(try request.identifier(), by: try claims.brand()))
            },
            route(.get, "/v1/sales/{id}/changes") { request, claims in
                let page = try Page(request.query)
                return Self.json(try await desk.changes(of: try request.identifier(), page, for: claims.sub))
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

    private static func made(_ value: some JSONWritable, at location: String) -> HTTPResponse {
        .json(201, JSONWriter.document(value)).with("Location", location)
    }

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
