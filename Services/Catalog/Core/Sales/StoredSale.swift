// A sale with what only the catalogue keeps of it.
import Models
import Postgres

enum SaleStatus: String, PostgresValue, CaseIterable { case draft, published }

struct StoredSale: Sendable {
    let sale: Sale
    let status: SaleStatus
    let createdAt: Timestamp
    let publishedAt: Timestamp?

    func isVisible(to reader: AccountID) -> Bool { status == .published || sale.brandId == reader }
}

/// One line of a sale's batches.
struct LineKey: Hashable, Sendable {
    let batch: Int
    let variant: String
}

/// A sale as its readers see it.
struct SaleView: Sendable {
    let stored: StoredSale
    let soldOut: [LineKey: Timestamp]
}

/// One state that a sale was in.
struct SaleChange: Sendable {
    enum Action: String, PostgresValue, CaseIterable { case created, changed, published }

    let sale: Sale
    let action: Action
    let changedBy: AccountID
    let changedAt: Timestamp
}

/// Which sales to list; what is nil does not matter.
struct SaleFilter: Sendable {
    var brand: BrandID?
    var product: ProductID?
    var status: SaleStatus?
}

/// A stored document that cannot be read: a fault of ours, not of the request's.
struct StoredDocumentError: Error, CustomStringConvertible {
    let description: String
}
