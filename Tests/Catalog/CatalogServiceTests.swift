// The service as a whole.
import TestSupport
import Testing

@testable import CatalogCore

@Suite(.timeLimit(.minutes(2))) struct CatalogServiceTests {
    private let catalog: Catalog

    init() async throws { catalog = try await Catalog.shared() }

    @Test func theDocumentAndTheRoutesAreTheSame() throws {
        let document = try OpenAPIDocument(service: "catalog")
        #expect(document.problems == [])
        #expect(catalog.service.routeProblems == [])
        #expect(document.bodyLimits == catalog.service.bodyLimits(of: document.bodyLimits.keys))
    }
}
