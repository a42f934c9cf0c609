// A random event of every type, and the list of them all.
import Models
import TestSupport

@testable import Models

/// An event type with a maker of random ones and the topic that it belongs to.
struct EventSample<Payload: EventPayload>: AnyEventSample {
    let topic: Topic
    let make: @Sendable (inout SeededRandom) -> Payload
}

/// An event type whose payload's type is not written out.
protocol AnyEventSample<Payload>: Sendable {
    associatedtype Payload: EventPayload
    var topic: Topic { get }
    var make: @Sendable (inout SeededRandom) -> Payload { get }
}

extension AnyEventSample {
    var type: String { Payload.type }
}

/// Every event that Stampede publishes.
let eventSamples: [any AnyEventSample] = [
    EventSample(topic: .accounts) {
        Account(
            accountId: $0.id(), kind: $0.pick(AccountKind.allCases), handle: $0.optional { $0.word() },
            displayName: $0.words(), locale: $0.pick(["en", "zh", "zh-Hans-CN"]), createdAt: $0.time(),
            authorisations: $0.list(0...Account.authorisationsMax) {
                .init(payeeId: $0.id(), limit: $0.money(), publisher: $0.optional { $0.publisher() })
            },
            revision: $0.optional { $0.integer(1...Int64.max) })
    },
    EventSample(topic: .keys) {
        VerificationKey(
            keyId: $0.code(), jwk: "{\"kty\":\"EC\",\"x\":\"\($0.word())\"}", notAfter: $0.time(),
            proof: $0.optional { $0.word() })
    },
    EventSample(topic: .keys) {
        SessionEnded(sessionId: $0.id(), refusedUntil: $0.time(), proof: $0.optional { $0.word() })
    },
    EventSample(topic: .accounts) {
        AccountDeleted(accountId: $0.id(), deletedAt: $0.time(), revision: $0.integer(1...Int64.max))
    },
    EventSample(topic: .products) {
        Product(
            productId: $0.id(), brandId: $0.id(), name: $0.localized(),
            variants: $0.list(0...5) { .init(code: $0.code(), title: $0.localized()) })
    },
    EventSample(topic: .sales) {
        Sale(
            saleId: $0.id(), brandId: $0.id(), productId: $0.id(), title: $0.localized(),
            revision: $0.integer(1...Int64.max), holdSeconds: $0.integer(1...Sale.holdSecondsMax),
            waitlistMax: $0.integer(0...Sale.waitlistLimit),
            batches: $0.list(0...4) {
                .init(
                    number: $0.int(in: 1...Sale.batchesMax), opensAt: $0.time(), closesAt: $0.optional { $0.time() },
                    lines: $0.list(0...4) {
                        .init(variant: $0.code(), units: $0.integer(0...Sale.unitsMax), price: $0.money())
                    })
            })
    },
    EventSample(topic: .orders) {
        OrderPlaced(
            orderId: $0.id(), saleId: $0.id(), batch: $0.int(in: 1...Sale.batchesMax), variant: $0.code(),
            buyerId: $0.id())
    },
    EventSample(topic: .orders) { OrderCancelled(orderId: $0.id(), saleId: $0.id(), buyerId: $0.id()) },
    EventSample(topic: .reservations) {
        OrderReserved(line: $0.line(), price: $0.money(), holdUntil: $0.time(), promoted: $0.bool())
    },
    EventSample(topic: .reservations) { OrderWaitlisted(line: $0.line()) },
    EventSample(topic: .reservations) {
        OrderRejected(line: $0.line(), reason: $0.pick(OrderRejected.Reason.allCases))
    },
    EventSample(topic: .reservations) { OrderConfirmed(line: $0.line()) },
    EventSample(topic: .reservations) {
        OrderReleased(line: $0.line(), reason: $0.pick(OrderReleased.Reason.allCases))
    },
    EventSample(topic: .reservations) {
        SaleSoldOut(
            saleId: $0.id(), batch: $0.int(in: 1...Sale.batchesMax), variant: $0.code(), brandId: $0.id(),
            soldOutAt: $0.time(), units: $0.optional { Int64($0.int(in: 1...9)) },
            lineRevision: $0.optional { $0.int(in: 1...9) })
    },
    EventSample(topic: .reservations) {
        SaleAvailable(
            saleId: $0.id(), batch: $0.int(in: 1...Sale.batchesMax), variant: $0.code(), brandId: $0.id(),
            availableAt: $0.time(), lineRevision: $0.int(in: 1...9))
    },
    EventSample(topic: .payments) {
        PaymentCaptured(
            paymentId: $0.id(), orderId: $0.id(), saleId: $0.id(), buyerId: $0.id(), brandId: $0.id(),
            amount: $0.money(), orderRevision: $0.optional { $0.int(in: 1...9) })
    },
    EventSample(topic: .payments) {
        PaymentFailed(
            orderId: $0.id(), saleId: $0.id(), buyerId: $0.id(), brandId: $0.id(),
            reason: $0.pick(PaymentFailed.Reason.allCases), orderRevision: $0.optional { $0.int(in: 1...9) })
    },
    EventSample(topic: .payments) {
        PaymentRefunded(
            paymentId: $0.id(), orderId: $0.id(), saleId: $0.id(), buyerId: $0.id(), brandId: $0.id(),
            amount: $0.money(), reason: $0.pick(OrderReleased.Reason.allCases),
            orderRevision: $0.optional { $0.int(in: 1...9) })
    },
    EventSample(topic: .notifications) {
        Notification(
            notificationId: $0.id(), kind: $0.pick(Notification.Kind.allCases), brandId: $0.id(),
            accountId: $0.optional { $0.id() }, saleId: $0.id(), orderId: $0.optional { $0.id() },
            text: $0.localized(), orderRevision: $0.optional { $0.int(in: 1...9) })
    },
    EventSample(topic: .messages) {
        MessageSent(
            messageId: $0.id(), conversationId: $0.id(), sequence: $0.integer(1...Int64.max), senderId: $0.id(),
            recipientId: $0.id(), kind: $0.pick(MessageSent.Kind.allCases), text: $0.text(),
            saleId: $0.optional { $0.id() }, orderId: $0.optional { $0.id() }, sentAt: $0.time())
    },
    EventSample(topic: .messages) {
        BrandPosted(
            messageId: $0.id(), brandId: $0.id(), sequence: $0.integer(1...Int64.max),
            kind: $0.pick(MessageSent.Kind.allCases), text: $0.localized(), saleId: $0.optional { $0.id() },
            sentAt: $0.time())
    },
]

extension SeededRandom {
    mutating func id<Kind>() -> Identifier<Kind> { Identifier(high: next(), low: next()) }
    mutating func integer(_ range: ClosedRange<Int64>) -> Int64 {
        pick([range.lowerBound, range.upperBound, Int64.random(in: range, using: &self)])
    }
    mutating func time() -> Timestamp {
        Timestamp(microseconds: integer(Timestamp.microsecondsMin...Timestamp.microsecondsMax))
    }
    mutating func money() -> Money { Money(integer(0...Money.amountMax), .cny) }
    mutating func words() -> String { "\(pick(["a", "手机", "\"", "\\"]))\(text())" }
    mutating func word() -> String { "\(pick(["mi3-silver-16", "x", "é", "\u{1F4F1}"]))\(int(in: 0...99))" }
    mutating func code() -> String { "\(pick(["mi3-silver-16", "x", "K_30.b", "0"]))\(int(in: 0...99))" }
    mutating func optional<T>(_ make: (inout Self) -> T) -> T? { bool() ? make(&self) : nil }
    mutating func list<T>(_ range: ClosedRange<Int>, _ make: (inout Self) -> T) -> [T] {
        (0..<int(in: range)).map { _ in make(&self) }
    }
    mutating func localized() -> LocalizedText {
        let texts = ["en", "zh", "zh-TW", "pt-BR"].shuffled(using: &self).prefix(int(in: 1...4)).map { ($0, text()) }
        return LocalizedText(Dictionary(uniqueKeysWithValues: texts)) ?? .english("")
    }
    mutating func line() -> OrderLine {
        OrderLine(
            orderId: id(), saleId: id(), batch: int(in: 1...Sale.batchesMax), variant: code(), buyerId: id(),
            brandId: id(), orderRevision: optional { $0.int(in: 1...9) }, publisher: optional { $0.publisher() })
    }
    mutating func publisher() -> PublisherName { PublisherName("partner-\(int(in: 0...99))") ?? .messaging }
}

extension LocalizedText {
    fileprivate static func english(_ text: String) -> LocalizedText {
        guard let localized = LocalizedText(["en": text]) else { preconditionFailure("one text is enough") }
        return localized
    }
}
