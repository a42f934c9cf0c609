// The routes of wishes.
import HTTP
import JSON
import Models
import Security
import ServiceKit

struct WishRoutes: Sendable {
    let commands: WishCommands

    func list(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        let wishes = try await commands.list(of: caller.sub)
        var writer = JSONWriter()
        writer.object { $0.field("items", wishes) }
        return .json(200, writer.bytes)
    }

    func put(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        try await commands.put(try request.identifier("saleId"), by: caller.sub)
        return .empty()
    }
}

extension Wish: JSONWritable {
    func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("saleId", sale)
            $0.field("wishedAt", wishedAt)
        }
    }
}

extension WishRules.Refusal: ProblemConvertible {
    var problem: Problem {
        switch self {
        case .tooMany: .unprocessable("There is room for \(WishRules.countMax) wishes: take one away first.")
        }
    }
}
