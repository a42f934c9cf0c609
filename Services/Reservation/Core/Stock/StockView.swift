// What is left of a sale, as it is shown.
import JSON
import Models

/// The answer of `GET /v1/stock/{saleId}`.
struct StockReport: JSONWritable {
    let saleId: SaleID
    let lines: [StockCount]

    func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("saleId", saleId)
            $0.field("lines", lines)
        }
    }
}

/// Where the units of one stock are. `supply = free + reserved + sold`.
struct StockCount: Sendable, JSONWritable {
    let batch: Int
    let variant: String
    let supply: Int64
    let free: Int64
    let reserved: Int64
    let sold: Int64
    let waiting: Int64
    let soldOutAt: Timestamp?

    func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("batch", batch)
            $0.field("variant", variant)
            $0.field("supply", Int(supply))
            $0.field("free", Int(free))
            $0.field("reserved", Int(reserved))
            $0.field("sold", Int(sold))
            $0.field("waiting", Int(waiting))
            $0.field("soldOutAt", optional: soldOutAt)
        }
    }
}
