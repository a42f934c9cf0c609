// What stored notifications are rendered from: under which number each was stored.

/// The number of each record of a batch, by its offset, so that the records alone say which is whose: a version that
/// reads more or fewer of them as notifications finds the same ones.
struct StoredSequences: Equatable, Sendable {
    private var firstOffset: Int64
    /// By a record's offset less the first one's; zero: nothing was stored.
    private var numbers: [Int64]

    init(firstOffset: Int64, count: Int) {
        self.firstOffset = firstOffset
        numbers = Array(repeating: 0, count: count)
    }

    /// Nil where nothing was stored.
    subscript(_ offset: Int64) -> Int64? {
        get { place(offset).flatMap { numbers[$0] > 0 ? numbers[$0] : nil } }
        set { if let place = place(offset) { numbers[place] = newValue ?? 0 } }
    }

    private func place(_ offset: Int64) -> Int? {
        let (place, isOutside) = offset.subtractingReportingOverflow(firstOffset)
        return isOutside || place < 0 || place >= numbers.count ? nil : Int(place)
    }

    /// Eight bytes each, little endian: the first offset's complement, which is below zero, then the numbers.
    var encoded: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(8 * (numbers.count + 1))
        for number in [~firstOffset] + numbers {
            for shift in stride(from: 0, to: 64, by: 8) { bytes.append(UInt8(truncatingIfNeeded: number >> shift)) }
        }
        return bytes
    }

    /// - Parameter offsets: where the batch's notifications stand. The first version wrote their numbers alone, in their
    ///   order, and none is below zero.
    init(encoded bytes: [UInt8], offsets: [Int64]) {
        let words = stride(from: 0, to: bytes.count - 7, by: 8).map { start in
            (0..<8).reduce(Int64(0)) { $0 | Int64(bytes[start + $1]) << Int64(8 * $1) }
        }
        if let first = words.first, first < 0 {
            self.init(firstOffset: ~first, count: 0)
            numbers = Array(words.dropFirst())
            return
        }
        let first = offsets.min() ?? 0
        self.init(firstOffset: first, count: Int((offsets.max() ?? first) - first) + 1)
        for (offset, number) in zip(offsets, words) { self[offset] = number }
    }
}
