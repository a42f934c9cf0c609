// What is to be said of a stock: that it is sold out, or is to be had again.
import Models

/// News of a line are numbered and alternate: the odd revisions say that it sold out, the even ones that it is to be had
/// again.
enum Availability: Sendable {
    case soldOut(SaleSoldOut, number: Int32)
    case available(SaleAvailable, number: Int32)

    /// - Parameter number: how many times it was said by now.
    static func soldOut(
        _ key: StockKey, brandId: BrandID, at time: Timestamp, number: Int32, units: Int64
    ) -> Availability {
        .soldOut(
            SaleSoldOut(
                saleId: key.saleId, batch: key.batch, variant: key.variant, brandId: brandId, soldOutAt: time,
                units: units, lineRevision: 2 * Int(number) - 1), number: number)
    }

    /// - Parameter number: how many times it was said to be sold out.
    static func available(
        _ key: StockKey, brandId: BrandID, at time: Timestamp, after number: Int32
    ) -> Availability {
        .available(
            SaleAvailable(
                saleId: key.saleId, batch: key.batch, variant: key.variant, brandId: brandId, availableAt: time,
                lineRevision: 2 * Int(number)), number: number)
    }
}
