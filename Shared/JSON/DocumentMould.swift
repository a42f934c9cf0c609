// Documents that come by the thousand and differ in UUIDs alone: only the first of them is parsed.
import CJSON
import Glibc

/// What documents have in common with one that was parsed: all but the texts of some members that are UUIDs.
///
/// A document that has the same bytes everywhere else, and a UUID's text in each of those places, has the same members with
/// the same values: neither a quote nor a backslash can be in such a text.
public final class DocumentMould: Sendable {
    public typealias Halves = (high: UInt64, low: UInt64)

    private let document: [UInt8]
    /// In the order of the document.
    private let places: [(at: Int, member: Int)]

    /// - Parameters:
    ///   - document: was parsed.
    ///   - json: its root.
    ///   - members: of the root, UUIDs. Nil where one is none, or anything in the document is escaped.
    public init?(_ document: some Collection<UInt8>, _ json: JSONValue, uuids members: [StaticString]) {
        guard !document.contains(UInt8(ascii: "\\")) else { return nil }
        var places: [(at: Int, member: Int)] = []
        for (index, name) in members.enumerated() {
            guard let value = json[name], value.uuidHalves != nil else { return nil }
            places.append((stampede_json_place(value.element), index))
        }
        self.places = places.sorted { $0.at < $1.at }
        self.document = Array(document)
    }

    /// Hands over the members' UUIDs in the order in which they were named; nil where the document is not of this mould.
    public func read<Result>(
        _ other: some Collection<UInt8>, _ body: (UnsafeBufferPointer<Halves>) -> Result?
    ) -> Result? {
        guard other.count == document.count else { return nil }
        let found: Result?? = other.withContiguousStorageIfAvailable { read(in: UnsafeRawBufferPointer($0), body) }
        if let found { return found }
        return Array(other).withUnsafeBytes { read(in: $0, body) }
    }

    private func read<Result>(
        in other: UnsafeRawBufferPointer, _ body: (UnsafeBufferPointer<Halves>) -> Result?
    ) -> Result? {
        document.withUnsafeBytes { document in
            withUnsafeTemporaryAllocation(of: Halves.self, capacity: places.count) { found in
                var end = 0
                for place in places {
                    guard Self.equal(document, other, end..<place.at),
                        let halves = UUIDText.parse(
                            UnsafeRawBufferPointer(rebasing: other[place.at..<place.at + UUIDText.count]))
                    else { return nil }
                    found.initializeElement(at: place.member, to: halves)
                    end = place.at + UUIDText.count
                }
                guard Self.equal(document, other, end..<document.count) else { return nil }
                return body(UnsafeBufferPointer(found))
            }
        }
    }

    private static func equal(
        _ one: UnsafeRawBufferPointer, _ other: UnsafeRawBufferPointer, _ range: Range<Int>
    ) -> Bool {
        guard let left = one.baseAddress, let right = other.baseAddress, !range.isEmpty else { return range.isEmpty }
        return memcmp(left + range.lowerBound, right + range.lowerBound, range.count) == 0
    }
}
