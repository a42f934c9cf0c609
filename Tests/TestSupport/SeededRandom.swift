/// Randomness that a test can repeat: SplitMix64 from a seed. The same seed gives the same numbers on every machine.
package struct SeededRandom: RandomNumberGenerator, Sendable {
    private var state: UInt64

    package init(seed: UInt64) { state = seed }

    package mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
        return mixed ^ mixed >> 31
    }

    package mutating func int(in range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &self) }
    package mutating func bool() -> Bool { next() & 1 == 1 }
    package mutating func pick<T>(_ choices: [T]) -> T { choices[int(in: 0...choices.count - 1)] }

    /// Text of every kind that a reader must bear: ASCII, what JSON escapes, several scripts, emoji, combining marks.
    /// Never U+0000, which Postgres cannot keep.
    package mutating func text(countMax: Int = 24) -> String {
        var text = ""
        for _ in 0..<int(in: 0...countMax) {
            let range: ClosedRange<UInt32> = pick([
                0x20...0x7e, 0x01...0x1f, 0x22...0x22, 0x5c...0x5c, 0x80...0x7ff,
                0x4e00...0x9fff, 0x1f300...0x1faff, 0x300...0x36f, 0x2028...0x2029, 0xe000...0xffff,
            ])
            if let scalar = Unicode.Scalar(UInt32.random(in: range, using: &self)) {
                text.unicodeScalars.append(scalar)
            }
        }
        return text
    }
}
