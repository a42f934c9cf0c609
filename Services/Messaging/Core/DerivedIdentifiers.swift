// Identifiers that follow from what they stand for: the same thing said again has the same one, on every instance,
// without asking anybody. UUIDs of version 8 (RFC 9562), made from SHA-256.
import Models
import Security

enum DerivedIdentifiers {
    /// In the twelve bits after the version of every order that was placed here. Orders that others publish bear it by
    /// chance once in 4,096 times (version 4) or never (version 7): who sees it knows that there may be a row.
    private static let orderMark: UInt64 = 0x5a1

    /// The direct conversation of two accounts, whoever of them began it.
    static func conversation(_ one: AccountID, _ other: AccountID) -> ConversationID {
        var seed = Seed("conversation")
        seed.append(min(one, other))
        seed.append(max(one, other))
        return seed.identifier()
    }

    /// A sender's message in a conversation, by the sender's own ID of it.
    static func message(from sender: AccountID, in conversation: ConversationID, _ clientMessageId: String) -> MessageID
    {
        var seed = Seed("message")
        seed.append(sender)
        seed.append(conversation)
        seed.append(clientMessageId)
        return seed.identifier()
    }

    static func post(of brand: BrandID, _ clientMessageId: String) -> MessageID {
        var seed = Seed("post")
        seed.append(brand)
        seed.append(clientMessageId)
        return seed.identifier()
    }

    static func order(of buyer: AccountID, _ clientOrderId: String) -> OrderID {
        var seed = Seed("order")
        seed.append(buyer)
        seed.append(clientOrderId)
        let plain: OrderID = seed.identifier()
        return OrderID(high: plain.high & ~0xfff | orderMark, low: plain.low)
    }

    /// False: the order was certainly not placed here.
    static func mayBePlacedHere(_ order: OrderID) -> Bool { order.high & 0xffff == 0x8000 | orderMark }

    private struct Seed {
        private var bytes: [UInt8] = []

        /// The domain keeps identifiers of different kinds apart; its end is marked, so that no two seeds run together.
        init(_ domain: StaticString) {
            bytes.reserveCapacity(96)
            domain.withUTF8Buffer { bytes.append(contentsOf: $0) }
            bytes.append(0)
        }

        mutating func append<Kind>(_ identifier: Identifier<Kind>) {
            for half in [identifier.high, identifier.low] {
                for shift in stride(from: 56, through: 0, by: -8) {
                    bytes.append(UInt8(truncatingIfNeeded: half >> UInt64(shift)))
                }
            }
        }

        mutating func append(_ text: String) { bytes.append(contentsOf: text.utf8) }

        func identifier<Kind>() -> Identifier<Kind> {
            let digest = Digest.sha256(bytes)
            func half(_ start: Int) -> UInt64 {
                digest[start..<start + 8].reduce(0) { $0 << 8 | UInt64($1) }
            }
            return Identifier(
                high: half(0) & ~0xf000 | 0x8000,
                low: half(8) & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000)
        }
    }
}
