// A sale with what only the catalog keeps of it.
import Models

enum SaleStatus: String, CaseIterable, Sendable { case draft, published }

struct StoredSale: Sendable {
    let sale: Sale
    let status: SaleStatus
    let createdAt: Timestamp
    let publishedAt: Timestamp?

    func isVisible(to reader: AccountID) -> Bool { status == .published || sale.brandId == reader }
}

/// One state that a sale was in.
struct SaleChange: Sendable {
    enum Action: String, CaseIterable, Sendable { case created, changed, published }

    let sale: Sale
    let action: Action
    let changedBy: AccountID
    let changedAt: Timestamp
}
