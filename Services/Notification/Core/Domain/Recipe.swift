// What is to be said of a batch in a few bytes: with the batch itself they give every record that is published.
import Foundation
import Models

/// Who is told what of one batch of the log. Kept in the outbox in place of the records that it stands for.
struct Recipe: Sendable, Equatable {
    /// The names of what is sold, as they were.
    var goods: [Goods]
    var toldAt: Timestamp
    var firstOffset: Int64
    /// One for each record from the first one on: the language to tell in, or `untold`.
    var entries: [UInt8]

    static let untold = UInt8.max

    private struct Head: Codable {
        let goods: [Goods]
        let toldAt: Timestamp
        let firstOffset: Int64
    }

    init(goods: [Goods], toldAt: Timestamp, firstOffset: Int64, entries: [UInt8]) {
        self.goods = goods
        self.toldAt = toldAt
        self.firstOffset = firstOffset
        self.entries = entries
    }

    /// The head as JSON, its length in four bytes before it, the entries after it.
    func encoded() throws -> [UInt8] {
        let head = try JSONEncoder().encode(Head(goods: goods, toldAt: toldAt, firstOffset: firstOffset))
        let length = UInt32(head.count)
        return [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: length >> $0) } + head + entries
    }

    init(encoded bytes: [UInt8]) throws(RecipeError) {
        guard bytes.count >= 4 else { throw RecipeError() }
        let length = bytes[..<4].reduce(0) { $0 << 8 | Int($1) }
        guard bytes.count >= 4 + length,
            let head = try? JSONDecoder().decode(Head.self, from: Data(bytes[4..<4 + length]))
        else { throw RecipeError() }
        goods = head.goods
        toldAt = head.toldAt
        firstOffset = head.firstOffset
        entries = Array(bytes[(4 + length)...])
    }

    /// The language in which the record of that offset is told; nil where it is not.
    func language(at offset: Int64) -> Language? {
        let (index, overflow) = offset.subtractingReportingOverflow(firstOffset)
        guard !overflow, index >= 0, index < entries.count else { return nil }
        return Language(rawValue: entries[Int(index)])
    }
}

/// The bytes are not a recipe.
struct RecipeError: Error, CustomStringConvertible {
    var description: String { "expected what to tell of a batch of events, as this service stores it" }
}
