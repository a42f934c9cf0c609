// Whom to count a request for.
import Glibc

extension HTTPRequest {
    /// The client's IPv4 address, or the network of its IPv6 address: whoever has one of a /64 has them all.
    public var remoteNetwork: String {
        var six = in6_addr()
        guard inet_pton(AF_INET6, remoteAddress, &six) == 1 else { return remoteAddress }
        let bytes = withUnsafeBytes(of: &six) { Array($0) }
        // IPv4 as it stands inside of IPv6.
        if bytes[..<10].allSatisfy({ $0 == 0 }), bytes[10] == 0xff, bytes[11] == 0xff {
            return bytes[12...].map { "\($0)" }.joined(separator: ".")
        }
        return bytes[..<8].map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() + "/64"
    }
}
