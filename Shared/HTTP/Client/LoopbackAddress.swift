// Addresses for clients of tests and of load on one machine.

/// Of the sixteen million addresses that a machine has for itself, those that many clients on it may take, so that a
/// server which bounds each address sees as many as there would be elsewhere.
public enum LoopbackAddress {
    /// 127.64.0.1 and those behind it; the same number is the same address.
    public static func client(_ number: Int) -> String {
        let bits = UInt32(truncatingIfNeeded: number % addressesMax + 1)
        return "127.\(64 + bits >> 16).\(bits >> 8 & 255).\(bits & 255)"
    }

    /// How many there are.
    public static let addressesMax = 1 << 22 - 2

    /// Whether a server of this address can be asked from such a one.
    public static func reaches(_ address: String) -> Bool { address.hasPrefix("127.") }
}
