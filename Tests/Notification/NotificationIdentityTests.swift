// Identifiers of notifications.
import Models
import Testing

@testable import NotificationCore

@Suite struct NotificationIdentityTests {
    private func event(order: OrderID, buyer: AccountID = .init(high: 1, low: 1)) -> NotifiableEvent {
        NotifiableEvent(
            OrderWaitlisted(
                line: OrderLine(
                    orderId: order, saleId: .init(high: 2, low: 2), batch: 1, variant: "a", buyerId: buyer,
                    brandId: .init(high: 4, low: 4))))
    }

    private let order = OrderID(high: 0x01a2_1ce0_6e00_7abc, low: 0x8123_4567_89ab_cdef)

    @Test func theSameEventAndReaderGiveTheSameIdentifier() {
        let first = NotificationID.derived(event(order: order), eventID: "e/1")
        #expect(first == .derived(event(order: order), eventID: "e/1"))
        #expect(first != .derived(event(order: order), eventID: "e/2"))
        #expect(first != .derived(event(order: order, buyer: .init(high: 9, low: 9)), eventID: "e/1"))
        let released = NotifiableEvent(
            OrderReleased(
                line: OrderLine(
                    orderId: order, saleId: .init(high: 2, low: 2), batch: 1, variant: "a",
                    buyerId: .init(high: 1, low: 1),
                    brandId: .init(high: 4, low: 4)), reason: .expired))
        #expect(released.map { .derived($0, eventID: "e/1") } != first)
    }

    @Test func itIsAUUIDOfVersion8ThatLiesBesideItsOrder() {
        let id = NotificationID.derived(event(order: order), eventID: "e/1").description
        #expect(id.hasPrefix("01a21ce0-6e00-8"))
        #expect(Array("89ab").contains(id[id.index(id.startIndex, offsetBy: 19)]))
    }

    @Test func identifiersDoNotCollide() {
        let ids = (0..<20_000).map { NotificationID.derived(event(order: order), eventID: "\($0)") }
        #expect(Set(ids).count == ids.count)
    }
}
