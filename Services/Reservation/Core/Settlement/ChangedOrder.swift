// An order that changed its state, with what its events repeat.
import Models

struct ChangedOrder: Sendable {
    let line: OrderLine
    let holdUntil: Timestamp?
    let price: Money

    var key: StockKey { StockKey(saleId: line.saleId, batch: line.batch, variant: line.variant) }
}
