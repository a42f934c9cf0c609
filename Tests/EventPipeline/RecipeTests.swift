// What stands in the outbox in place of the records: it comes back as it was, and nothing else is taken for it.
import EventPipeline
import Models
import Testing

@Suite struct RecipeTests {
    private struct Head: Codable, Equatable, Sendable {
        let name: String
        let price: Money
        let time: Timestamp
    }

    private let recipe = Recipe(
        head: Head(
            name: "手机", price: Money(199_900, .cny), time: Timestamp(microseconds: 1_764_244_800_123_456)),
        firstOffset: 1000, codes: [0, 255, 1])

    @Test func whatIsWrittenIsReadBack() throws {
        let read = try Recipe<Head>(encoded: recipe.encoded())
        #expect(read == recipe)
        #expect((998...1004).map { read.code(at: $0) } == [nil, nil, 0, 255, 1, nil, nil])
        #expect(read.code(at: .min) == nil && read.code(at: .max) == nil)
    }

    @Test func whatIsNoRecipeIsAnError() throws {
        let good = try recipe.encoded()
        for length in 0..<good.count - recipe.codes.count {
            #expect(throws: RecipeError.self) { try Recipe<Head>(encoded: Array(good.prefix(length))) }
        }
        for wrong in [[0, 0, 0, 0], [255, 255, 255, 255], Array(good.dropFirst())] {
            #expect(throws: RecipeError.self) { try Recipe<Head>(encoded: wrong) }
        }
    }
}
