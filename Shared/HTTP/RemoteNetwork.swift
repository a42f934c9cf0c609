// Whom to count a request for.

extension HTTPRequest {
    /// The client's IPv4 address, or the network of its IPv6 address: whoever has one of a /64 has them all.
    public var remoteNetwork: String { IPAddress(remoteAddress)?.householdText ?? remoteAddress }
}
