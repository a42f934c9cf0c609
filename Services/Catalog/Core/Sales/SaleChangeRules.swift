// What may change in a sale once it is public.
import Models

extension SalePlan {
    /// Everything that may not become so, now that buyers have seen `sale`.
    ///
    /// Supply only rises; batches and lines stay. Until a batch opens its times and prices may change; from then on they
    /// are what orders are decided by. How long a hold lasts and how many may wait is fixed by the first opening.
    package func changeFaults(from sale: Sale, at now: Timestamp) -> [Fault] {
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
    package func raisedLines(from sale: Sale) -> [(batch: Int, variant: String)] {
        batches.flatMap { batch in
            batch.lines.filter { $0.units > sale.batch(batch.number)?.line($0.variant)?.units ?? $0.units }
                .map { (batch.number, $0.variant) }
        }
    }
}
