// Records that differ in a few texts alone: what they have in common is packed once and copied.

/// A packed record with places for texts of fixed lengths.
public struct RecordMould: Sendable {
    /// A text's place in the record, and where it stands among the texts.
    private struct Place {
        let at: Int
        let text: Range<Int>
    }

    fileprivate let bytes: [UInt8]
    private let places: [Place]

    /// How many bytes a record takes, packed.
    public var count: Int { bytes.count }

    /// - Parameters:
    ///   - batch: one record.
    ///   - texts: what stands in the places, one after the other, at its place by the range. Wherever the record has such a
    ///     text is a place for it, so it must be one that nothing else can be.
    public init(_ batch: RecordBatch, placesOf ranges: [Range<Int>], in texts: [UInt8]) {
        precondition(batch.count == 1, "a mould is of one record")
        bytes = batch.bytes
        var places: [Place] = []
        for range in ranges {
            let text = texts[range]
            var at = 0
            while at + text.count <= batch.bytes.count {
                if batch.bytes[at..<at + text.count].elementsEqual(text) {
                    places.append(Place(at: at, text: range))
                    at += text.count
                } else {
                    at += 1
                }
            }
        }
        self.places = places
    }

    /// Puts other texts in the places of a copy.
    fileprivate func fill(_ record: UnsafeMutableRawBufferPointer, with texts: UnsafeRawBufferPointer) {
        for place in places {
            UnsafeMutableRawBufferPointer(rebasing: record[place.at..<place.at + place.text.count])
                .copyMemory(from: UnsafeRawBufferPointer(rebasing: texts[place.text]))
        }
    }
}

extension RecordBatch {
    /// Appends a record of the mould with these texts, which stand as those stood that it was made with.
    public mutating func append(_ mould: RecordMould, with texts: [UInt8]) {
        append(packed: mould.bytes) { record in texts.withUnsafeBytes { mould.fill(record, with: $0) } }
    }
}
