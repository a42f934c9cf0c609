// What the answers to one batch have in common.
import Models

/// The head of the recipe from which answers are rendered. A code is the order's outcome, 0 where there is none.
struct Decided: Sendable, Equatable, Codable {
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
    var decidedAt: Timestamp
}
