// The route of what is left of a sale: for pages that show it, and for whoever checks the books.
import HTTP
import JSON
import Models
import Security
import ServiceKit

struct StockRoutes: Sendable {
    let counts: StockCounts

    func show(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        let unknown = Problem.notFound("There is no such sale, or none of it is known here yet.")
        let saleId = try request.identifier("saleId", of: SaleID.self, orElse: unknown)
        let lines = try await counts.of(saleId)
        if lines.isEmpty { throw unknown }
        return .json(200, JSONWriter.document(StockReport(saleId: saleId, lines: lines)))
    }
}
