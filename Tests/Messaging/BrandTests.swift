import Foundation
import HTTP
import Models
import Postgres
import TestSupport
import Testing

@testable import MessagingCore

@Suite struct BrandTests {
    private func post(_ text: String, _ client: String = UUID().uuidString) -> String {
        #"{"clientMessageId":"\#(client)","kind":"text","text":{"en":"\#(text)","zh":"\#(text)!"}}"#
    }

    @Test func postsAreNumberedAndPublished() async throws {
        let chat = try await Chat.shared()
        let (brand, alice) = (try await chat.brand(), try await chat.person("alice"))
        let path = "/v1/brands/\(brand.id)/posts"
        for number in 1...3 {
            let answer = try await chat.call(.post, path, post("\(number)", "c\(number)"), token: brand.token)
            #expect(answer.status == 201)
            #expect(answer["sequence"]?.integer == Int64(number))
        }
        #expect(try await chat.call(.post, path, post("2", "c2"), token: brand.token).status == 200)
        #expect(try await chat.call(.post, path, post("other", "c2"), token: brand.token).status == 422)
        #expect(try await chat.call(.post, path, post("not mine"), token: alice.token).status == 403)
        let read = try await chat.call(.get, "\(path)?after=1", token: alice.token)
        #expect(read.items.compactMap { $0["text"]?["zh"]?.string } == ["2!", "3!"])
        let event = try await chat.find(.messages, BrandPosted.self) { post, record in
            post.brandId == brand.id && post.sequence == 3 && record.key.map { Array($0) } == brand.id.textBytes
        }
        #expect(event.text.text(for: "zh") == "3!")
    }

    @Test func aBrandIsFollowedAndNoLonger() async throws {
        let chat = try await Chat.shared()
        let (brand, alice) = (try await chat.brand(), try await chat.person("alice"))
        func isFollowed() async throws -> Bool? {
            var cursor = ""
            while true {
                let page = try await chat.call(.get, "/v1/brands?limit=100\(cursor)", token: alice.token)
                if let found = page.items.first(where: { $0["brandId"]?.string == brand.id.description }) {
                    return found["isFollowed"]?.boolean
                }
                guard let next = page["nextCursor"]?.string else { return nil }
                cursor = "&cursor=\(next)"
            }
        }
        #expect(try await isFollowed() == false)
        for _ in 0..<2 {
            #expect(try await chat.call(.put, "/v1/brands/\(brand.id)/follow", token: alice.token).status == 204)
        }
        #expect(try await isFollowed() == true)
        #expect(try await chat.call(.delete, "/v1/brands/\(brand.id)/follow", token: alice.token).status == 204)
        #expect(try await isFollowed() == false)
        // A person is no brand.
        #expect(try await chat.call(.put, "/v1/brands/\(alice.id)/follow", token: brand.token).status == 404)
    }
}
