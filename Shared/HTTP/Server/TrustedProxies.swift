// Whose word about a client's address is believed.
import Foundation

/// Addresses and networks of proxies. Loopback always belongs to them.
public struct TrustedProxies: Sendable, Equatable {
    private var networks: [Network]

    public init() { networks = [] }

    /// - Parameter texts: literal addresses (`10.0.0.7`, `2001:db8::7`) and networks (`10.0.0.0/8`, `fd00::/8`).
    public init(_ texts: [String]) throws(HTTPError) {
        var networks: [Network] = []
        for text in texts {
            guard let network = Network(text) else { throw .invalidAddress(text) }
            networks.append(network)
        }
        self.networks = networks
    }

    func contains(_ address: IPAddress) -> Bool {
        address.isLoopback || networks.contains { $0.contains(address) }
    }

    private struct Network: Sendable, Equatable {
        /// The bits behind the prefix are zero.
        let address: IPAddress
        /// Of 128 bits, also for IPv4.
        let prefixBits: Int

        init?(_ text: String) {
            let parts = text.split(separator: "/", omittingEmptySubsequences: false)
            guard parts.count <= 2, let address = IPAddress(String(parts[0])) else { return nil }
            let bitsMax = address.isIPv4 ? 32 : 128
            var bits = bitsMax
            if parts.count == 2 {
                guard let given = Int(parts[1]), (0...bitsMax).contains(given) else { return nil }
                bits = given
            }
            prefixBits = bits + 128 - bitsMax
            self.address = address.prefix(prefixBits)
        }

        func contains(_ other: IPAddress) -> Bool { other.prefix(prefixBits) == address }
    }
}

/// An address as 128 bits; IPv4 as it stands inside of IPv6.
struct IPAddress: Sendable, Equatable {
    private var high: UInt64
    private var low: UInt64

    private static let mappedIPv4: UInt64 = 0xffff << 32

    init?(_ text: String) {
        var four = in_addr()
        var six = in6_addr()
        if inet_pton(AF_INET, text, &four) == 1 {
            high = 0
            low = Self.mappedIPv4 | UInt64(UInt32(bigEndian: four.s_addr))
        } else if inet_pton(AF_INET6, text, &six) == 1 {
            (high, low) = withUnsafeBytes(of: &six) {
                (
                    UInt64(bigEndian: $0.loadUnaligned(as: UInt64.self)),
                    UInt64(bigEndian: $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
                )
            }
        } else {
            return nil
        }
    }

    var isIPv4: Bool { high == 0 && low >> 32 == 0xffff }
    var isLoopback: Bool { isIPv4 ? low >> 24 & 0xff == 127 : high == 0 && low == 1 }

    /// The first bits, the others zero.
    func prefix(_ bits: Int) -> IPAddress {
        var prefix = self
        // Swift's shifts by 64 and more give zero.
        prefix.high &= ~(UInt64.max >> UInt64(min(bits, 64)))
        prefix.low &= ~(UInt64.max >> UInt64(max(bits - 64, 0)))
        return prefix
    }
}
