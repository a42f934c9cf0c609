// Everything before noon: the brand, its phone and sale, the buyers and their money.
import Foundation
import HTTP
import JSON
import Models

/// A market that is ready for noon.
struct Market: Sendable {
    let brand: BrandID
    let sale: SaleID
    let noon: Timestamp
    let buyers: Buyers
    /// The buyers' access tokens, by number; empty where orders do not go over HTTP.
    let tokens: [[UInt8]]
}

struct Preparation: Sendable {
    let api: APIClient
    let operatorSecret: String
    let plan: RushPlan
    let console: Console
    /// Whose orders the buyers' authorisations hold for, besides those of the app.
    var publisher: PublisherName?

    private static let batchMax = 1000
    private static let batchesInFlightMax = 4

    func run() async throws -> Market {
        let operatorToken = try await api.send(
            .post, "/v1/operator/session", body: JSONWriter.object { $0.field("secret", operatorSecret) },
            { (json) throws(JSONError) in try json.string("accessToken", bytesMax: 8192) })

        let name = "brand-\(UUID().uuidString.prefix(8).lowercased())"
        let password = UUID().uuidString
        let brand = try await api.send(
            .post, "/v1/operator/brands", token: operatorToken,
            body: JSONWriter.object {
                $0.field("handle", name)
                $0.field("password", password)
                $0.field("displayName", "Stampede Phones")
                $0.field("locale", "en")
            },
            { (json) throws(JSONError) in
                try json.read("account") { (account) throws(JSONError) in
                    try account.identifier("accountId", of: BrandID.self)
                }
            })
        let brandToken = try await api.send(
            .post, "/v1/sessions",
            body: JSONWriter.object {
                $0.field("handle", name)
                $0.field("password", password)
            }, { (json) throws(JSONError) in try json.string("accessToken", bytesMax: 8192) })

        let (buyers, tokens) = try await importBuyers(operatorToken, brand: brand)
        try await topUp(operatorToken, buyers)
        let (sale, noon) = try await openSale(brandToken)
        return Market(brand: brand, sale: sale, noon: noon, buyers: buyers, tokens: tokens)
    }

    private func importBuyers(_ token: String, brand: BrandID) async throws -> (Buyers, [[UInt8]]) {
        let issuer = "https://rush.example/\(UUID().uuidString.lowercased())"
        let withTokens = plan.via == .http
        let listeners = plan.listeners > 0
        var buyers = Buyers(capacity: plan.orders)
        var tokens: [[UInt8]] = []
        try await inBatches("buyers", plan.orders) { range in
            let body = JSONWriter.object {
                $0.field("issuer", issuer)
                if withTokens || listeners { $0.field("sessions", true) }
                $0.name("accounts")
                $0.array {
                    for buyer in range {
                        $0.object {
                            $0.field("subject", "buyer-\(buyer)")
                            $0.field("displayName", "Buyer \(buyer)")
                            $0.field("locale", buyer % 2 == 0 ? "en" : "zh")
                            $0.name("authorisations")
                            $0.array {
                                Account.Authorisation(
                                    payeeId: brand, limit: Money(RushPlan.priceMinorUnits, .cny), publisher: publisher
                                ).write(to: &$0)
                            }
                        }
                    }
                }
            }
            return try await api.send(.post, "/v1/operator/accounts", token: token, body: body) {
                (json) throws(JSONError) in
                try json.list("items", countMax: Self.batchMax) { (item) throws(JSONError) in
                    (
                        try item.identifier("accountId", of: AccountID.self),
                        try item.optionalString("accessToken", charactersMax: 8192)
                    )
                }
            }
        } collect: { (items: [(AccountID, String?)]) in
            for (id, token) in items {
                buyers.append(id)
                if let token { tokens.append(Array(token.utf8)) }
            }
        }
        guard buyers.count == plan.orders, !withTokens || tokens.count == plan.orders else {
            throw CommandError(
                .failure, "asked for \(plan.orders) buyers, got \(buyers.count) and \(tokens.count) tokens")
        }
        return (buyers, tokens)
    }

    private func topUp(_ token: String, _ buyers: Buyers) async throws {
        try await inBatches("top-ups", plan.orders) { range in
            let body = JSONWriter.object {
                $0.name("items")
                $0.array {
                    for buyer in range {
                        $0.object {
                            $0.field("accountId", buyers.ids[buyer])
                            let amount = plan.isPoor(buyer) ? 1 : RushPlan.priceMinorUnits
                            $0.field("amount", Money(amount, .cny))
                        }
                    }
                }
            }
            // A wallet opens when payment has read the account's event: until then it is unknown there.
            let key = UUID().uuidString.lowercased()
            for attempt in 1... {
                let response = try await api.response(
                    .post, "/v1/operator/topups", token: token, headers: [("Idempotency-Key", key)], body: body)
                if (200...299).contains(response.status) { break }
                guard [404, 409, 422].contains(response.status), attempt < 300 else {
                    throw APIClient.Refusal(
                        method: .post, path: "/v1/operator/topups", status: response.status, body: response.body)
                }
                try await Task.sleep(for: .milliseconds(200))
            }
        } collect: { (_: Void) in
        }
    }

    private func openSale(_ token: String) async throws -> (SaleID, Timestamp) {
        let product = try await api.send(
            .post, "/v1/products", token: token,
            body: JSONWriter.object {
                $0.name("name")
                $0.object {
                    $0.field("en", "Mi 3")
                    $0.field("zh", "小米3")
                }
                $0.name("variants")
                $0.array {
                    $0.object {
                        $0.field("code", RushPlan.variant)
                        $0.name("title")
                        $0.object {
                            $0.field("en", "Silver, 16 GB")
                            $0.field("zh", "银色 16 GB")
                        }
                    }
                }
            }, { (json) throws(JSONError) in try json.identifier("productId", of: ProductID.self) })
        let noon = WallClock.now().adding(seconds: Int64(plan.noonSeconds))
        let sale = try await api.send(
            .post, "/v1/sales", token: token,
            body: JSONWriter.object {
                $0.field("productId", product)
                $0.name("title")
                $0.object {
                    $0.field("en", "Noon sale")
                    $0.field("zh", "正午开售")
                }
                $0.field("holdSeconds", plan.holdSeconds)
                $0.field("waitlistMax", plan.waitlistMax)
                $0.name("batches")
                $0.array {
                    $0.object {
                        $0.field("number", 1)
                        $0.field("opensAt", noon)
                        $0.name("lines")
                        $0.array {
                            $0.object {
                                $0.field("variant", RushPlan.variant)
                                $0.field("units", plan.units)
                                $0.field("price", Money(RushPlan.priceMinorUnits, .cny))
                            }
                        }
                    }
                }
            }, { (json) throws(JSONError) in try json.identifier("saleId", of: SaleID.self) })
        try await api.success(.post, "/v1/sales/\(sale)/publication", token: token)
        return (sale, noon)
    }

    /// Cuts 0 ..< count into batches, runs some at a time, and hands the answers over in their order.
    private func inBatches<Answer: Sendable>(
        _ what: String, _ count: Int, _ send: @escaping @Sendable (Range<Int>) async throws -> Answer,
        collect: (Answer) -> Void
    ) async throws {
        let ranges = stride(from: 0, to: count, by: Self.batchMax).map { $0..<min(count, $0 + Self.batchMax) }
        var done = 0
        try await withThrowingTaskGroup(of: (Int, Answer).self) { group in
            var waiting: [Int: Answer] = [:]
            var started = 0
            var collected = 0
            func start() {
                guard started < ranges.count else { return }
                let index = started
                started += 1
                group.addTask { (index, try await send(ranges[index])) }
            }
            for _ in 0..<Self.batchesInFlightMax { start() }
            while let (index, answer) = try await group.next() {
                waiting[index] = answer
                while let ready = waiting.removeValue(forKey: collected) {
                    collect(ready)
                    done += ranges[collected].count
                    collected += 1
                    if collected % 10 == 0 || collected == ranges.count {
                        console.progress("preparing: \(done.grouped) of \(count.grouped) \(what)")
                    }
                }
                start()
            }
        }
    }
}
