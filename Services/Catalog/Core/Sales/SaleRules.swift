// What a brand wants a sale to be, and what may still change once it is public.
import Models

/// A sale as its brand asks for it.
public struct SalePlan: Hashable, Sendable {
    public let productId: ProductID
    public let title: LocalizedText
    public let holdSeconds: Int64
    public let waitlistMax: Int64
    public let batches: [Sale.Batch]

    /// No sale has more lines in all its batches together, so that its record stays well below what a broker takes.
    public static let linesMax = 2000

    /// A batch counts as open this long before it is: what reservation decides orders by must have reached it by then.
    public static let frozenSeconds: Int64 = 5

    public init(
        productId: ProductID, title: LocalizedText, holdSeconds: Int64, waitlistMax: Int64, batches: [Sale.Batch]
    ) {
        self.productId = productId
        self.title = title
        self.holdSeconds = holdSeconds
        self.waitlistMax = waitlistMax
        self.batches = batches
    }

    public init(_ sale: Sale) {
        self.init(
            productId: sale.productId, title: sale.title, holdSeconds: sale.holdSeconds,
            waitlistMax: sale.waitlistMax, batches: sale.batches)
    }

    public func sale(_ id: SaleID, of brand: BrandID, revision: Int64) -> Sale {
        Sale(
            saleId: id, brandId: brand, productId: productId, title: title, revision: revision,
            holdSeconds: holdSeconds, waitlistMax: waitlistMax, batches: batches)
    }
}

// MARK: What any sale must be

extension SalePlan {
    /// Everything that cannot be, of a draft as well.
    public func faults(for product: Product) -> [Fault] {
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
    public func publicationFaults() -> [Fault] {
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

// MARK: What may change once it is public

extension SalePlan {
    /// Everything that may not become so, now that buyers have seen `sale`.
    ///
    /// Supply only rises; batches and lines stay. Until a batch opens its times and prices may change; from then on they
    /// are what orders are decided by. How long a hold lasts and how many may wait is fixed by the first opening.
    public func changeFaults(from sale: Sale, at now: Timestamp) -> [Fault] {
        var found: [Fault] = []
        if productId != sale.productId { found.append(Fault("productId", "\(sale.productId), what is sold is fixed")) }
        if sale.batches.contains(where: { Self.isFixed($0, at: now) }) {
            if holdSeconds != sale.holdSeconds {
                found.append(Fault("holdSeconds", "\(sale.holdSeconds), fixed since the first batch opened"))
            }
            if waitlistMax != sale.waitlistMax {
                found.append(Fault("waitlistMax", "\(sale.waitlistMax), fixed since the first batch opened"))
            }
        }
        let newestNumber = sale.batches.map(\.number).max() ?? 0
        for (index, batch) in batches.enumerated() {
            let place = "batches[\(index)]"
            if let before = sale.batch(batch.number) {
                found += Self.changeFaults(of: batch, from: before, at: now, place)
            } else if batch.number < newestNumber {
                found.append(Fault("\(place).number", "a number above \(newestNumber), the newest batch's"))
            }
        }
        for before in sale.batches where !batches.contains(where: { $0.number == before.number }) {
            found.append(Fault("batches", "batch \(before.number) among them, it is public"))
        }
        return found
    }

    private static func isFixed(_ batch: Sale.Batch, at now: Timestamp) -> Bool {
        batch.opensAt <= now.adding(seconds: frozenSeconds)
    }

    private static func changeFaults(
        of batch: Sale.Batch, from before: Sale.Batch, at now: Timestamp, _ place: String
    ) -> [Fault] {
        var found: [Fault] = []
        let isFixed = isFixed(before, at: now)
        if isFixed, batch.opensAt != before.opensAt {
            found.append(Fault("\(place).opensAt", "\(before.opensAt), the batch is open"))
        }
        if isFixed, batch.closesAt != before.closesAt {
            let frozen = now.adding(seconds: frozenSeconds)
            if let closed = before.closesAt, closed <= frozen {
                found.append(Fault("\(place).closesAt", "\(closed), the batch is closed"))
            } else if let closesAt = batch.closesAt, closesAt <= frozen {
                found.append(Fault("\(place).closesAt", "a time at least \(frozenSeconds) seconds from now"))
            }
        }
        for (index, line) in batch.lines.enumerated() {
            let place = "\(place).lines[\(index)]"
            guard let lineBefore = before.line(line.variant) else {
                if isFixed { found.append(Fault("\(place).variant", "none that is new, the batch is open")) }
                continue
            }
            if line.units < lineBefore.units {
                found.append(Fault("\(place).units", "at least \(lineBefore.units), which are offered already"))
            }
            if isFixed, line.price != lineBefore.price {
                found.append(Fault("\(place).price", "the price that the batch opened with"))
            }
        }
        for lineBefore in before.lines where batch.line(lineBefore.variant) == nil {
            found.append(Fault("\(place).lines", "\(lineBefore.variant) among them, it is offered already"))
        }
        return found
    }

    /// The lines that offer more than before: what sold out is to be had again.
    public func raisedLines(from sale: Sale) -> [(batch: Int, variant: String)] {
        batches.flatMap { batch in
            batch.lines.filter { $0.units > sale.batch(batch.number)?.line($0.variant)?.units ?? $0.units }
                .map { (batch.number, $0.variant) }
        }
    }
}
