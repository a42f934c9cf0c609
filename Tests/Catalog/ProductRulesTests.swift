// The rules of a product's plan: pure.
import Models
import Testing

@testable import CatalogCore

@Suite struct ProductRulesTests {
    private func faults(_ codes: [String], name: LocalizedText = text("phone"), title: String = "x") -> [String] {
        ProductPlan(name: name, variants: codes.map { .init(code: $0, title: text(title)) }).faults().map(\.field)
    }

    @Test func aProductHasANameAndVariantsThatDiffer() {
        #expect(faults(["mi3-silver-16", "mi3_white.64"]) == [])
        #expect(faults([]) == ["variants"])
        #expect(faults(["a", "a", "b"]) == ["variants[1].code"])
        #expect(faults(["a"], title: " \n") == ["variants[0].title.en"])
    }
}
