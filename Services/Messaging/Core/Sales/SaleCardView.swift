// The goods card of a sale.
import JSON
import Models

/// A sale as a card shows it, drawn from the sale as it is now.
struct SaleCardView: JSONWritable {
    let sale: Sale
    let product: Product?

    func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("saleId", sale.saleId)
            $0.field("brandId", sale.brandId)
            $0.field("productId", sale.productId)
            $0.field("title", sale.title)
            $0.field("productName", optional: product?.name)
            $0.name("batches")
            $0.array { writer in
                for batch in sale.batches {
                    writer.object {
                        $0.field("number", batch.number)
                        $0.field("opensAt", batch.opensAt)
                        $0.field("closesAt", optional: batch.closesAt)
                        $0.name("lines")
                        $0.array { writer in
                            for line in batch.lines {
                                writer.object {
                                    $0.field("variant", line.variant)
                                    $0.field("price", line.price)
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

extension SaleTables {
    /// The card of a message or post that is one; nil once the sale is withdrawn.
    func card(_ kind: MessageSent.Kind, of id: SaleID?) -> SaleCardView? {
        guard kind == .goodsCard, let sale = id.flatMap({ sale($0) }) else { return nil }
        return SaleCardView(sale: sale, product: product(sale.productId))
    }
}
