// What a brand wants a sale to be, and what any sale must be.
import Models

/// A sale as its brand asks for it.
package struct SalePlan: Hashable, Sendable {
    package let productId: ProductID
    package let title: LocalizedText
    package let holdSeconds: Int64
    package let waitlistMax: Int64
    package let batches: [Sale.Batch]

    /// No sale has more lines in all its batches together, so that its record stays well below what a broker takes.
    package static let linesMax = 2000

    /// A batch counts as open this long before it is: what reservation decides orders by must have reached it by then.
    package static let frozenSeconds: Int64 = 5

    package init(
        productId: ProductID, title: LocalizedText, holdSeconds: Int64, waitlistMax: Int64, batches: [Sale.Batch]
    ) {
        self.productId = productId
        self.title = title
        self.holdSeconds = holdSeconds
        self.waitlistMax = waitlistMax
        self.batches = batches
    }

    package init(_ sale: Sale) {
        self.init(
            productId: sale.productId, title: sale.title, holdSeconds: sale.holdSeconds,
            waitlistMax: sale.waitlistMax, batches: sale.batches)
    }

    package func sale(_ id: SaleID, of brand: BrandID, revision: Int64) -> Sale {
        Sale(
            saleId: id, brandId: brand, productId: productId, title: title, revision: revision,
            holdSeconds: holdSeconds, waitlistMax: waitlistMax, batches: batches)
    }
}

extension SalePlan {
    /// Everything that cannot be, of a draft as well.
    package func faults(for product: Product) -> [Fault] {
        var found = title.faults("title")
        var previous = 0
        for (index, batch) in batches.enumerated() {
            let place = "batches[\(index)]"
            if batch.number <= previous {
                found.append(Fault("\(place).number", "a number above \(previous), the batch's before it"))
            }
            previous = max(previous, batch.number)
            if let closesAt = batch.closesAt, closesAt <= batch.opensAt {
                found.append(Fault("\(place).closesAt", "a time after opensAt"))
            }
            found += Self.faults(of: batch.lines, at: place, for: product)
        }
        if batches.reduce(0, { $0 + $1.lines.count }) > Self.linesMax {
            found.append(Fault("batches", "at most \(Self.linesMax) lines in all batches together"))
        }
        return found
    }

    private static func faults(of lines: [Sale.Line], at place: String, for product: Product) -> [Fault] {
        var found: [Fault] = []
        var variants: Set<String> = []
        for (index, line) in lines.enumerated() {
            let place = "\(place).lines[\(index)]"
            if !product.variants.contains(where: { $0.code == line.variant }) {
                found.append(Fault("\(place).variant", "the code of one of the product's variants"))
            } else if !variants.insert(line.variant).inserted {
                found.append(Fault("\(place).variant", "a variant that no other line of the batch has"))
            }
            if line.price.amount < 1 { found.append(Fault("\(place).price.amount", "at least 1")) }
        }
        return found
    }

    /// What a draft may lack and a public sale may not.
    package func publicationFaults() -> [Fault] {
        if batches.isEmpty { return [Fault("batches", "at least one batch")] }
        return batches.enumerated().flatMap { index, batch in
            batch.lines.isEmpty
                ? [Fault("batches[\(index)].lines", "at least one line")]
                : batch.lines.enumerated().filter { $1.units < 1 }.map { line, _ in
                    Fault("batches[\(index)].lines[\(line)].units", "at least 1 unit")
                }
        }
    }
}
