import Models
import Security

extension NotificationID {
    /// The identifier of what a reader is told of an event: the same however often either comes.
    ///
    /// A UUID of version 8: the first 48 bits are those of the order (or sale) that it is about, so that identifiers
    /// that are made together lie together in an index; 74 bits are of SHA-256 over kind, event and reader.
    ///
    /// That a line sold out is told once for all that was offered by then, whichever event says it: a phone that comes back
    /// and is gone again is no news to everybody; supply that was added and is gone is.
    static func derived(_ event: NotifiableEvent, eventID: String) -> NotificationID {
        var input: [UInt8] = []
        input.reserveCapacity(160)
        input.append(contentsOf: event.kind.rawValue.utf8)
        input.append(0)
        if let soldOut = event.soldOut {
            let line = "\(event.saleId)/\(soldOut.batch)/\(event.variant ?? "")/soldout"
            input.append(contentsOf: "\(line)/\(soldOut.units) units".utf8)
        } else {
            input.append(contentsOf: eventID.utf8)
        }
        input.append(0)
        if let accountId = event.accountId { input.append(contentsOf: accountId.textBytes) }
        let digest = Digest.sha256(input)
        let first = digest[0..<2].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        let last = digest[2..<10].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        let moment = event.orderId?.high ?? event.saleId.high
        return NotificationID(
            high: moment & 0xffff_ffff_ffff_0000 | 0x8000 | first & 0x0fff,
            low: 0x8000_0000_0000_0000 | last & 0x3fff_ffff_ffff_ffff)
    }
}
