// Whether an order may be placed now, and in which batch.
import Models

/// Where an order goes: the batch that it names, or the one that is open.
struct OrderPlacement: Sendable, Equatable {
    let brandId: BrandID
    let batch: Int
    let line: Sale.Line
}

/// Why no order can be taken in. The reservation service decides again by the log's time: this spares the buyer the
/// wait for an answer that is certain.
enum OrderRefusal: Error, Sendable, Equatable {
    case unknownBatch
    case unknownVariant
    case notOpen(opensAt: Timestamp)
    case closed
}

extension Sale {
    /// - Parameter batch: the batch's number; nil for whichever is open, the latest of them where several are.
    func placement(batch number: Int?, variant: String, at now: Timestamp) throws(OrderRefusal) -> OrderPlacement {
        if let number {
            guard let batch = batch(number) else { throw .unknownBatch }
            guard let line = batch.line(variant) else { throw .unknownVariant }
            guard batch.opensAt <= now else { throw .notOpen(opensAt: batch.opensAt) }
            guard batch.isOpen(at: now) else { throw .closed }
            return OrderPlacement(brandId: brandId, batch: number, line: line)
        }
        var open: OrderPlacement?
        var opensAt: Timestamp?
        var isOffered = false
        var openedAt = Timestamp.distantPast
        for batch in batches {
            guard let line = batch.line(variant) else { continue }
            isOffered = true
            if batch.isOpen(at: now) {
                if open == nil || batch.opensAt >= openedAt {
                    open = OrderPlacement(brandId: brandId, batch: batch.number, line: line)
                    openedAt = batch.opensAt
                }
            } else if batch.opensAt > now {
                opensAt = min(opensAt ?? batch.opensAt, batch.opensAt)
            }
        }
        if let open { return open }
        guard isOffered else { throw .unknownVariant }
        if let opensAt { throw .notOpen(opensAt: opensAt) }
        throw .closed
    }
}

extension Sale.Batch {
    func isOpen(at now: Timestamp) -> Bool {
        guard opensAt <= now else { return false }
        guard let closesAt else { return true }
        return now < closesAt
    }
}
