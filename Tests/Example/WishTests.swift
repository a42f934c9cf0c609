// The example of CONTRIBUTING.md: it builds, it works, and the document shows it as it is.
import Foundation
import HTTP
import Kafka
import Models
import Postgres
import Security
import ServiceKit
import Testing
import TestSupport

private struct WishService: Service {
    static let name = "wishes"
    static let summary = "Keeps wishes."
    static let migrations = Wishes.keeps
    let features: [any Feature]
    let verifier = TokenVerifier()

    init(_ context: ServiceContext) { features = [Wishes(context)] }
}

@Suite struct WishTests {
    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().path

    @Test func theDocumentShowsTheExampleAsItIs() throws {
        let document = try String(contentsOfFile: "\(Self.root)/CONTRIBUTING.md", encoding: .utf8)
        let folder = "\(Self.root)/Tests/Example/Wishes"
        for file in try FileManager.default.contentsOfDirectory(atPath: folder) {
            let text = try String(contentsOfFile: "\(folder)/\(file)", encoding: .utf8)
            let language = file.hasSuffix(".sql") ? "sql" : "swift"
            #expect(document.contains("`\(file)`") && document.contains("```\(language)\n\(text)```"), "\(file)")
        }
    }

    @Test func aMemberWishesForASaleOnce() async throws {
        let database = try await TestPostgres.shared().database(schemas: ["wishes"])
        let broker = try EmbeddedBroker()
        let service = try await RunningService.start(
            WishService.self,
            environment: [
                "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrapServers, "STAMPEDE_POSTGRES_DSN": database.dsn("wishes"),
            ])
        let key = try SigningKey.generate()
        try service.service.verifier.update(keyID: key.keyID, jwk: key.publicJWK)
        let now = Timestamp.now().microseconds / 1_000_000
        let token = try key.sign(
            claims: AccessClaims(
                sub: AccountID(high: 1, low: 2), kind: .person, sid: SessionID(high: 3, low: 4), iat: now,
                exp: now + 60))
        let client = try HTTPClient()
        func ask(_ method: HTTPMethod, _ path: String, token: String?) async throws -> (Int, String) {
            let response = try await client.send(
                ClientRequest(
                    method, service.httpURL + path, headers: token.map { [("Authorization", "Bearer \($0)")] } ?? []))
            return (response.status, String(decoding: response.body, as: UTF8.self))
        }
        let sale = SaleID(high: 5, low: 6)
        #expect(try await ask(.put, "/v1/wishes/\(sale)", token: nil).0 == 401)
        #expect(try await ask(.put, "/v1/wishes/nothing", token: token).0 == 404)
        for _ in 0..<2 { #expect(try await ask(.put, "/v1/wishes/\(sale)", token: token).0 == 204) }
        let (status, body) = try await ask(.get, "/v1/wishes", token: token)
        #expect(status == 200 && body.components(separatedBy: sale.description).count == 2, "\(body)")
        await client.close()
        #expect(await service.stop())
    }

    @Test func whoWishesForManyIsRefusedOneMore() throws {
        let many = Set((1...UInt64(WishRules.countMax)).map { SaleID(high: 0, low: $0) })
        #expect(throws: WishRules.Refusal.tooMany) { try WishRules.check(SaleID(high: 1, low: 1), others: many) }
        try WishRules.check(SaleID(high: 0, low: 1), others: many)
    }
}
