// Payment as it runs, with a brand that sells and buyers with wallets.
import Foundation
import HTTP
import JSON
import Kafka
import Models
import TestSupport
import Testing

@testable import PaymentCore

struct Shop: Sendable {
    let service: TestService<PaymentService>
    let brand = BrandID.random()
    let sale = SaleID.random()
    let price = Money(199_900, .cny)

    /// Starts the service and opens the brand's wallet.
    static func open() async throws -> Shop {
        let shop = Shop(service: try await TestService.start(PaymentService.self))
        try await shop.service.publish(.accounts, key: shop.brand, Account.brand(shop.brand))
        return shop
    }

    func close() async { await service.stop() }

    func books() throws -> Books { try Books(service.database) }

    // MARK: Wallets

    /// Opens wallets with the given money. Returns when it is there.
    func openWallets(_ buyers: [AccountID], limit: Money? = nil, holding balance: Int64) async throws {
        let authorisations = limit.map { [Account.Authorisation(payeeId: brand, limit: $0)] } ?? []
        for buyer in buyers {
            try await service.publish(.accounts, key: buyer, Account.person(buyer, authorisations: authorisations))
        }
        let operatorToken = try service.token(.operator)
        let body = topUp(buyers.map { ($0, Money(balance, .cny)) })
        guard balance > 0 else { return }
        // Refused while the wallets are not open yet, and a refusal does not use the key up.
        let key = UUID().uuidString
        try await until {
            let answer = try await service.call(
                .post, "/v1/operator/topups", body, token: operatorToken, headers: [("Idempotency-Key", key)])
            #expect([201, 422].contains(answer.status))
            return answer.status == 201
        }
    }

    func openWallet(limit: Money? = nil, holding balance: Int64) async throws -> AccountID {
        let buyer = AccountID.random()
        try await openWallets([buyer], limit: limit, holding: balance)
        return buyer
    }

    func topUp(_ items: [(AccountID, Money)]) -> [UInt8] {
        var writer = JSONWriter()
        writer.object {
            $0.name("items")
            $0.array {
                for (account, amount) in items {
                    $0.object {
                        $0.field("accountId", account)
                        $0.field("amount", amount)
                    }
                }
            }
        }
        return writer.bytes
    }

    func balance(_ owner: AccountID, in member: String = "balances") async throws -> Int64? {
        let answer = try await service.call(.get, "/v1/wallet", token: service.token(.person, of: owner))
        return answer[member]?.elements.first?["amount"]?.integer
    }

    // MARK: Orders

    func line(_ order: OrderID, _ buyer: AccountID, by publisher: PublisherName? = .messaging) -> OrderLine {
        OrderLine(
            orderId: order, saleId: sale, batch: 1, variant: "mi3", buyerId: buyer, brandId: brand, publisher: publisher
        )
    }

    func reserve(
        _ orders: [OrderID], for buyer: AccountID, price: Money? = nil, heldSeconds: Int64 = 600,
        by publisher: PublisherName? = .messaging
    ) async throws {
        let holdUntil = Timestamp.now().adding(seconds: heldSeconds)
        var batch = RecordBatch()
        for order in orders {
            let event = OrderReserved(
                line: line(order, buyer, by: publisher), price: price ?? self.price, holdUntil: holdUntil,
                promoted: false)
            batch.append(event: event, topic: .reservations, key: buyer.textBytes, id: UUID().uuidString)
        }
        try await service.producer.send(batch)
    }

    func reserve(
        _ order: OrderID, for buyer: AccountID, price: Money? = nil, heldSeconds: Int64 = 600
    ) async throws {
        try await reserve([order], for: buyer, price: price, heldSeconds: heldSeconds)
    }

    func release(_ order: OrderID, for buyer: AccountID, _ reason: OrderReleased.Reason = .expired) async throws {
        try await service.publish(.reservations, key: buyer, OrderReleased(line: line(order, buyer), reason: reason))
    }

    /// Returns when the service has read all that was published for the buyer before: what concerns one buyer is read in
    /// its order.
    func settled(_ buyer: AccountID) async throws {
        let marker = OrderID.random()
        try await release(marker, for: buyer)
        let books = try books()
        try await until { try await books.states()[marker] != nil }
        await books.close()
    }

    func pay(
        _ order: OrderID, by buyer: AccountID, key: String = UUID().uuidString
    ) async throws -> TestService<PaymentService>.Answer {
        try await service.call(
            .post, "/v1/payments", Array(#"{"orderId":"\#(order)"}"#.utf8), token: service.token(.person, of: buyer),
            headers: [("Idempotency-Key", key)])
    }

    func audit() async throws {
        let books = try books()
        try await books.audit()
        await books.close()
    }
}

/// Asks until the answer is yes; the suite's time limit bounds it.
func until(_ condition: () async throws -> Bool) async throws {
    while try await !condition() { try await Task.sleep(for: .milliseconds(10)) }
}
