/// ICU refused something: a pattern that is none, a currency that is no code, no memory.
public struct ICUError: Error, Equatable, CustomStringConvertible {
    public let description: String

    public init(_ description: String) { self.description = description }
}

/// A text that a function of C writes: it gives the bytes that it takes, and is asked again when there was too little room.
func written(
    bytesExpected: Int, by write: (UnsafeMutablePointer<CChar>?, Int) -> Int64
) throws(ICUError) -> String {
    var capacity = bytesExpected
    while true {
        var needed = -1
        let text = String(unsafeUninitializedCapacity: capacity) { buffer in
            needed = buffer.withMemoryRebound(to: CChar.self) { Int(write($0.baseAddress, capacity)) }
            return (0...capacity).contains(needed) ? needed : 0
        }
        if needed < 0 { throw ICUError("ICU could not write a text") }
        if needed <= capacity { return text }
        capacity = needed
    }
}
