// Whose word about a client's address is believed.
import Foundation

/// Addresses and networks of proxies.
public struct TrustedProxies: Sendable, Equatable {
    /// The proxies of the same machine.
    public static let loopback = TrustedProxies(networks: ["127.0.0.1", "::1"].compactMap { Network($0) })

    private var networks: [Network]

    private init(networks: [Network]) { self.networks = networks }

    /// - Parameter texts: literal addresses (`10.0.0.7`, `2001:db8::7`) and networks (`10.0.0.0/8`, `fd00::/8`).
    public init(_ texts: [String]) throws(HTTPError) {
        var networks: [Network] = []
        for text in texts {
            guard let network = Network(text) else { throw .invalidAddress(text) }
            networks.append(network)
        }
        self.networks = networks
    }

    func contains(_ address: IPAddress) -> Bool { networks.contains { $0.contains(address) } }

    /// The client of a request that came from `peer`. As long as it is a proxy's, an address is believed what it says of the
    /// one before it; what stands before the first that is none is anybody's invention.
    /// - Parameter forwarded: the values of `X-Forwarded-For` in the order in which they came.
    func client(of peer: IPAddress, forwarded: [String]) -> IPAddress {
        var client = peer
        for value in forwarded.reversed() {
            for hop in value.split(separator: ",", omittingEmptySubsequences: false).reversed() {
                guard contains(client), let address = IPAddress(hop: hop) else { return client }
                client = address
            }
        }
        return client
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
struct IPAddress: Sendable, Hashable, CustomStringConvertible {
    private var high: UInt64
    private var low: UInt64

    private static let mappedIPv4: UInt64 = 0xffff << 32

    init?(_ text: String) {
        var four = in_addr()
        var six = in6_addr()
        if inet_pton(AF_INET, text, &four) == 1 {
            self.init(four)
        } else if inet_pton(AF_INET6, text, &six) == 1 {
            self.init(six)
        } else {
            return nil
        }
    }

    /// As proxies write it, some with a port: `192.0.2.7`, `192.0.2.7:80`, `2001:db8::7`, `[2001:db8::7]:80`.
    init?(hop: some StringProtocol) {
        var text = hop.trimmingCharacters(in: .whitespaces)[...]
        if text.first == "[" {
            text = text.dropFirst().prefix { $0 != "]" }
        } else if let colon = text.firstIndex(of: ":"), text.contains("."), text.lastIndex(of: ":") == colon {
            text = text[..<colon]
        }
        self.init(String(text))
    }

    /// Of a socket; nil for one of another family.
    init?(_ address: UnsafePointer<sockaddr>) {
        switch Int32(address.pointee.sa_family) {
        case AF_INET:
            self = address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { Self($0.pointee.sin_addr) }
        case AF_INET6:
            self = address.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { Self($0.pointee.sin6_addr) }
        default: return nil
        }
    }

    private init(_ address: in_addr) {
        high = 0
        low = Self.mappedIPv4 | UInt64(UInt32(bigEndian: address.s_addr))
    }

    private init(_ address: in6_addr) {
        (high, low) = withUnsafeBytes(of: address) {
            (
                UInt64(bigEndian: $0.loadUnaligned(as: UInt64.self)),
                UInt64(bigEndian: $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
            )
        }
    }

    var isIPv4: Bool { high == 0 && low >> 32 == 0xffff }

    /// What one client has: an IPv4 address, an IPv6 network of 64 bits.
    var household: IPAddress { isIPv4 ? self : prefix(64) }

    /// The household's text: `192.0.2.7`, or 16 hexadecimal digits and `/64`.
    var householdText: String {
        if isIPv4 { return description }
        let digits = String(high, radix: 16)
        return String(repeating: "0", count: 16 - digits.utf8.count) + digits + "/64"
    }

    /// The first bits, the others zero.
    func prefix(_ bits: Int) -> IPAddress {
        var prefix = self
        // Swift's shifts by 64 and more give zero.
        prefix.high &= ~(UInt64.max >> UInt64(min(bits, 64)))
        prefix.low &= ~(UInt64.max >> UInt64(max(bits - 64, 0)))
        return prefix
    }

    /// The one text of this address, however it was written.
    var description: String {
        if isIPv4 { return "\(low >> 24 & 255).\(low >> 16 & 255).\(low >> 8 & 255).\(low & 255)" }
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(INET6_ADDRSTRLEN)) { buffer in
            var bytes = (high.bigEndian, low.bigEndian)
            guard let text = inet_ntop(AF_INET6, &bytes, buffer.baseAddress, socklen_t(INET6_ADDRSTRLEN)) else {
                return "::"
            }
            return String(cString: text)
        }
    }
}
