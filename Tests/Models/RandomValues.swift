import Models
import TestSupport

extension SeededRandom {
    mutating func id<Kind>() -> Identifier<Kind> { Identifier(high: next(), low: next()) }

    /// A bound of the range as often as what is within.
    mutating func integer(_ range: ClosedRange<Int64>) -> Int64 {
        pick([range.lowerBound, range.upperBound, Int64.random(in: range, using: &self)])
    }

    mutating func time() -> Timestamp {
        let (first, last) = (Timestamp(microseconds: .min), Timestamp(microseconds: .max))
        return Timestamp(microseconds: integer(first.microseconds...last.microseconds))
    }
}
