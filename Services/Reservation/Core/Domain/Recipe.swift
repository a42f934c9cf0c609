// The answers to a batch in a few bytes: with the batch itself they give every record that is published.
import Foundation
import Models

/// What was decided on one batch of the log. Kept in the outbox in place of the records that it stands for.
struct Recipe: Sendable, Equatable {
    struct Line: Sendable, Equatable, Codable {
        let saleId: SaleID
        let batch: Int
        let variant: String
        let brandId: BrandID
        let price: Money
        let holdSeconds: Int64
    }

    /// The stocks that the batch's orders were for.
    var lines: [Line]
    /// One for each decided order, by its offset less the first one's: the outcome, 0 where there is none.
    var firstOffset: Int64
    var outcomes: [UInt8]
    /// When it was decided.
    var decidedAt: Timestamp

    private struct Head: Codable {
        let lines: [Line]
        let firstOffset: Int64
        let decidedAt: Timestamp
    }

    init(lines: [Line], firstOffset: Int64, outcomes: [UInt8], decidedAt: Timestamp) {
        self.lines = lines
        self.firstOffset = firstOffset
        self.outcomes = outcomes
        self.decidedAt = decidedAt
    }

    /// The head as JSON, its length in four bytes before it, the outcomes after it.
    func encoded() throws -> [UInt8] {
        let head = try JSONEncoder().encode(Head(lines: lines, firstOffset: firstOffset, decidedAt: decidedAt))
        let length = UInt32(head.count)
        return [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: length >> $0) } + head + outcomes
    }

    init(encoded bytes: [UInt8]) throws(RecipeError) {
        guard bytes.count >= 4 else { throw RecipeError() }
        let length = bytes[..<4].reduce(0) { $0 << 8 | Int($1) }
        guard bytes.count >= 4 + length,
            let head = try? JSONDecoder().decode(Head.self, from: Data(bytes[4..<4 + length]))
        else { throw RecipeError() }
        lines = head.lines
        firstOffset = head.firstOffset
        decidedAt = head.decidedAt
        outcomes = Array(bytes[(4 + length)...])
    }
}

/// The bytes are not a recipe.
struct RecipeError: Error, CustomStringConvertible {
    var description: String { "expected the answers to a batch of orders, as this service stores them" }
}
