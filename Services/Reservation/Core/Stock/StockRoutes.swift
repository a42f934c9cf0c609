// What is left of a sale: for pages that show it, and for whoever checks the books.
import HTTP
import JSON
import Models
import Security
import ServiceKit

struct StockRoutes: Sendable {
    let counts: StockCounts
    let verifier: TokenVerifier
    let now: @Sendable () -> Timestamp

    var routes: [Route] {
        [Route(.get, "/v1/stock/{saleId}", show)]
    }

    private static let unknown = Problem.notFound("There is no such sale, or none of it is known here yet.")

    private func show(_ request: HTTPRequest) async throws -> HTTPResponse {
        _ = try request.claims(using: verifier, now: now())
        guard let saleId = request.pathParameters["saleId"].flatMap(SaleID.init) else {
            throw Problem.badRequest(fields: [FieldProblem("saleId", expected: "a UUID")])
        }
        let lines = try await counts.of(saleId)
        if lines.isEmpty { throw Self.unknown }
        return .json(
            200,
            JSONWriter.document(StockReport(saleId: saleId, lines: lines)))
    }
}

/// The answer of `GET /v1/stock/{saleId}`.
struct StockReport: JSONWritable {
    let saleId: SaleID
    let lines: [StockCount]

    func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("saleId", saleId)
            $0.field("lines", lines)
        }
    }
}

/// Where the units of one stock are. `supply = free + reserved + sold`.
struct StockCount: Sendable, JSONWritable {
    let batch: Int
    let variant: String
    let supply: Int64
    let free: Int64
    let reserved: Int64
    let sold: Int64
    let waiting: Int64
    let soldOutAt: Timestamp?

    func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("batch", batch)
            $0.field("variant", variant)
            $0.field("supply", Int(supply))
            $0.field("free", Int(free))
            $0.field("reserved", Int(reserved))
            $0.field("sold", Int(sold))
            $0.field("waiting", Int(waiting))
            $0.field("soldOutAt", optional: soldOutAt)
        }
    }
}
