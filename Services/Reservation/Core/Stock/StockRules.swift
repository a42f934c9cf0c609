// What is counted, and how much of it a partition may give away.
import Models

/// A variant of a batch of a sale.
struct StockKey: Hashable, Sendable {
    let saleId: SaleID
    let batch: Int
    let variant: String
}

/// What a sale says about one stock.
struct Terms: Sendable, Equatable {
    let brandId: BrandID
    let price: Money
    let holdSeconds: Int64
    var opensAt: Timestamp
    var closesAt: Timestamp?

    /// The same for a sale that was withdrawn: whenever an order came, it comes too late.
    var ended: Terms {
        var ended = self
        (ended.opensAt, ended.closesAt) = (.distantPast, .distantPast)
        return ended
    }
}

extension Sale {
    /// The terms of one variant of one batch, nil where the sale has none such.
    func terms(batch number: Int, variant: String) -> Terms? {
        guard let batch = batch(number), let line = batch.line(variant) else { return nil }
        return Terms(
            brandId: brandId, price: line.price, holdSeconds: holdSeconds, opensAt: batch.opensAt,
            closesAt: batch.closesAt)
    }
}

/// What one partition may decide on, and whether there is more elsewhere.
struct StockView: Sendable, Equatable {
    /// Units leased to this partition.
    var units: Int64
    /// Waitlist places leased to this partition.
    var places: Int64
    /// Units in the pool and in the leases of other partitions.
    var unitsElsewhere: Int64
    /// Places that are not leased, and in the leases of other partitions.
    var placesElsewhere: Int64

    var isExhausted: Bool { units == 0 && places == 0 && unitsElsewhere == 0 && placesElsewhere == 0 }

    /// Whether more is elsewhere of what is given away next, and less here than so many orders want.
    func isShort(of wanted: Int64) -> Bool {
        units + unitsElsewhere > 0
            ? units < wanted && unitsElsewhere > 0 : places < wanted && placesElsewhere > 0
    }
}
