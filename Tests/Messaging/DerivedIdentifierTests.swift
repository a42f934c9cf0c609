import Models
import TestSupport
import Testing

@testable import MessagingCore

@Suite struct DerivedIdentifierTests {
    @Test func aConversationIsTheSameForBothOfIt() {
        let (a, b) = (AccountID(high: 1, low: 2), AccountID(high: 3, low: 4))
        #expect(DerivedIdentifiers.conversation(a, b) == DerivedIdentifiers.conversation(b, a))
        #expect(DerivedIdentifiers.conversation(a, b) != DerivedIdentifiers.conversation(a, a))
    }

    @Test func derivedIdentifiersAreUUIDsOfVersion8() {
        let order = DerivedIdentifiers.order(of: AccountID(high: 1, low: 2), "x").description
        #expect(order.dropFirst(14).hasPrefix("85a1-"))
        #expect("89ab".contains(order.dropFirst(19).first ?? " "))
        let conversation = DerivedIdentifiers.conversation(AccountID(high: 1, low: 2), AccountID(high: 1, low: 3))
        #expect(conversation.description.dropFirst(14).hasPrefix("8"))
    }

    @Test func anOrderPlacedHereIsKnownByItsID() {
        var random = SeededRandom(seed: 7)
        for _ in 0..<1000 {
            let buyer = AccountID(high: random.next(), low: random.next())
            #expect(DerivedIdentifiers.mayBePlacedHere(DerivedIdentifiers.order(of: buyer, "\(random.next())")))
            let foreign = OrderID.v7(at: .distantPast, random: (random.next(), random.next()))
            #expect(!DerivedIdentifiers.mayBePlacedHere(foreign))
        }
    }

    @Test func idsThatRunTogetherDoNotMeet() {
        let account = AccountID(high: 1, low: 2)
        let ids = [
            DerivedIdentifiers.order(of: account, "a").description,
            DerivedIdentifiers.order(of: account, "b").description,
            DerivedIdentifiers.post(of: account, "a").description,
            DerivedIdentifiers.message(from: account, in: ConversationID(high: 1, low: 1), "a").description,
        ]
        #expect(Set(ids).count == ids.count)
    }
}
