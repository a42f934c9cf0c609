// What a member may wish for.
import Models

struct Wish: Equatable, Sendable {
    let sale: SaleID
    let wishedAt: Timestamp
}

enum WishRules {
    static let countMax = 100

    enum Refusal: Error, Equatable { case tooMany }

    /// - Parameter others: the sales that the member wishes for already.
    static func check(_ sale: SaleID, others: Set<SaleID>) throws(Refusal) {
        guard others.contains(sale) || others.count < countMax else { throw .tooMany }
    }
}
