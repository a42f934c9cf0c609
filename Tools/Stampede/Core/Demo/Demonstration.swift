// A brand with a phone, two buyers with money, and a sale again and again: what a newcomer looks at. All of it is made
// through the API, and what is there already is taken as it is.
import Foundation
import HTTP
import JSON
import Models

struct Demonstration: Sendable {
    /// Everybody's, for this machine alone.
    static let password = "stampede demo"
    static let brand = Person(handle: "phones", name: "Phones", locale: "en")
    /// The first has said that the brand may charge the wallet; the second pays by hand.
    static let buyers = [
        Person(handle: "alice", name: "Alice", locale: "en"), Person(handle: "bob", name: "Bob", locale: "en"),
    ]
    private static let moneyMinorUnits: Int64 = 5_000_000
    private static let unitsOfEach = 20
    private static let variants = [
        Variant(code: "mi3-graphite-16", en: "Graphite, 16 GB", zh: "石墨黑 16 GB", priceMinorUnits: 199_900),
        Variant(code: "mi3-silver-16", en: "Silver, 16 GB", zh: "银色 16 GB", priceMinorUnits: 199_900),
        Variant(code: "mi3-green-64", en: "Jade green, 64 GB", zh: "玉石绿 64 GB", priceMinorUnits: 249_900),
    ]

    struct Person: Sendable {
        let handle: String
        let name: String
        let locale: String
    }

    private struct Variant: Sendable {
        let code: String
        let en: String
        let zh: String
        let priceMinorUnits: Int64
    }

    /// Who has signed in.
    struct Member: Sendable {
        let id: AccountID
        let token: String
    }

    let api: APIClient
    let operatorSecret: String

    // MARK: Who is there

    /// Makes what is missing of it.
    func prepare() async throws -> Member {
        let operatorToken = try await api.send(
            .post, "/v1/operator/session", body: JSONWriter.object { $0.field("secret", operatorSecret) },
            { (json) throws(JSONError) in try json.string("accessToken", bytesMax: 8192) })
        let brand = try await member(Self.brand, operatorToken: operatorToken)
        for (index, person) in Self.buyers.enumerated() {
            let buyer = try await member(person, operatorToken: nil)
            try await topUp(buyer, operatorToken)
            try await api.success(.put, "/v1/brands/\(brand.id)/follow", token: buyer.token)
            if index == 0 {
                try await api.success(
                    .put, "/v1/wallet/authorisations/\(brand.id)", token: buyer.token,
                    body: JSONWriter.object { $0.field("limit", Money(Self.moneyMinorUnits, .cny)) })
            }
            try await welcome(buyer, person, from: brand)
        }
        return brand
    }

    func signIn(_ person: Person) async throws -> Member? {
        let response = try await api.response(
            .post, "/v1/sessions",
            body: JSONWriter.object {
                $0.field("handle", person.handle)
                $0.field("password", Self.password)
            })
        if response.status == 401 { return nil }
        return try Self.member(of: response, .post, "/v1/sessions")
    }

    private func member(_ person: Person, operatorToken: String?) async throws -> Member {
        if let known = try await signIn(person) { return known }
        let path = operatorToken == nil ? "/v1/accounts" : "/v1/operator/brands"
        let response = try await api.response(
            .post, path, token: operatorToken,
            body: JSONWriter.object {
                $0.field("handle", person.handle)
                $0.field("password", Self.password)
                $0.field("displayName", person.name)
                $0.field("locale", person.locale)
            })
        return try Self.member(of: response, .post, path)
    }

    private static func member(of response: ClientResponse, _ method: HTTPMethod, _ path: String) throws -> Member {
        guard response.status == 201 else {
            throw APIClient.Refusal(method: method, path: path, status: response.status, body: response.body)
        }
        return try JSONParser.parse(response.body) { (json) throws(JSONError) in
            Member(
                id: try json.read("account") { (account) throws(JSONError) in
                    try account.identifier("accountId", of: AccountID.self)
                }, token: try json.string("accessToken", bytesMax: 8192))
        }
    }

    /// Once a day at the most, whatever is started how often. A wallet opens a moment after its account.
    private func topUp(_ buyer: Member, _ operatorToken: String) async throws {
        let body = JSONWriter.object {
            $0.name("items")
            $0.array {
                $0.object {
                    $0.field("accountId", buyer.id)
                    $0.field("amount", Money(Self.moneyMinorUnits, .cny))
                }
            }
        }
        try await api.success(
            .post, "/v1/operator/topups", token: operatorToken, headers: [("Idempotency-Key", "demo-\(buyer.id)")],
            body: body,
            retrying: [409, 422, 429, 503])
    }

    private func welcome(_ buyer: Member, _ person: Person, from brand: Member) async throws {
        let conversation = try await api.send(
            .post, "/v1/conversations", token: brand.token,
            body: JSONWriter.object { $0.field("accountId", buyer.id) },
            { (json) throws(JSONError) in try json.identifier("conversationId", of: ConversationID.self) })
        try await api.success(
            .post, "/v1/conversations/\(conversation)/messages", token: brand.token,
            body: JSONWriter.object {
                $0.field("clientMessageId", "welcome-\(buyer.id)")
                $0.field("kind", "text")
                $0.field(
                    "text", "Hello \(person.name)! The next sale opens soon. You will find it here and on our page.")
            })
    }

    // MARK: Sales

    /// When the brand's newest sale opens; nil where it has none.
    func lastOpening(of brand: Member) async throws -> Timestamp? {
        try await api.send(.get, "/v1/sales?brandId=\(brand.id)&status=published&limit=1", token: brand.token) {
            (json) throws(JSONError) in
            try json.list("items", countMax: 1) { (sale) throws(JSONError) in
                try sale.list("batches", countMax: 100) { (batch) throws(JSONError) in try batch.timestamp("opensAt") }
            }.first?.last
        }
    }

    /// Plans a sale, publishes it and tells the followers and the two buyers. The same opening is the same sale.
    func openSale(of brand: Member, at noon: Timestamp, closesAt: Timestamp) async throws {
        let product = try await product(of: brand)
        let key = "demo-\(noon)"
        let sale = try await api.send(
            .post, "/v1/sales", token: brand.token, headers: [("Idempotency-Key", key)],
            body: JSONWriter.object {
                $0.field("productId", product)
                Self.write(
                    "title", en: "Mi 3, the next \(Self.variants.count * Self.unitsOfEach)", zh: "小米3 限量开售", to: &$0)
                $0.field("holdSeconds", 120)
                $0.field("waitlistMax", 20)
                $0.name("batches")
                $0.array {
                    $0.object {
                        $0.field("number", 1)
                        $0.field("opensAt", noon)
                        $0.field("closesAt", closesAt)
                        $0.name("lines")
                        $0.array {
                            for variant in Self.variants {
                                $0.object {
                                    $0.field("variant", variant.code)
                                    $0.field("units", Self.unitsOfEach)
                                    $0.field("price", Money(variant.priceMinorUnits, .cny))
                                }
                            }
                        }
                    }
                }
            }, { (json) throws(JSONError) in try json.identifier("saleId", of: SaleID.self) })
        try await api.success(.post, "/v1/sales/\(sale)/publication", token: brand.token)
        // Messaging hears of the sale a moment later.
        try await api.success(
            .post, "/v1/brands/\(brand.id)/posts", token: brand.token,
            body: JSONWriter.object {
                $0.field("clientMessageId", key)
                $0.field("kind", "goodsCard")
                $0.field("saleId", sale)
                Self.write(
                    "text", en: "The Mi 3 is back. One tap when the countdown ends, and it is yours.",
                    zh: "小米3 再次开售，倒计时结束一键下单。", to: &$0)
            }, retrying: [404, 422, 429, 503])
    }

    private func product(of brand: Member) async throws -> ProductID {
        // The brand may have described others since.
        let known = try await api.send(.get, "/v1/products?brandId=\(brand.id)&limit=100", token: brand.token) {
            (json) throws(JSONError) in
            try json.list("items", countMax: 100) { (product) throws(JSONError) in
                let codes = try product.list("variants", countMax: Product.variantsMax) { (one) throws(JSONError) in
                    try one.string("code", bytesMax: 64)
                }
                return (id: try product.identifier("productId", of: ProductID.self), codes: codes)
            }
        }
        if let own = known.first(where: { $0.codes == Self.variants.map(\.code) }) { return own.id }
        return try await api.send(
            .post, "/v1/products", token: brand.token,
            body: JSONWriter.object {
                Self.write("name", en: "Mi 3", zh: "小米3", to: &$0)
                $0.name("variants")
                $0.array {
                    for variant in Self.variants {
                        $0.object {
                            $0.field("code", variant.code)
                            Self.write("title", en: variant.en, zh: variant.zh, to: &$0)
                        }
                    }
                }
            }, { (json) throws(JSONError) in try json.identifier("productId", of: ProductID.self) })
    }

    private static func write(_ name: StaticString, en: String, zh: String, to writer: inout JSONWriter) {
        writer.name(name)
        writer.object {
            $0.field("en", en)
            $0.field("zh", zh)
        }
    }
}
