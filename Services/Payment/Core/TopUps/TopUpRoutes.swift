// The route of top-ups.
import HTTP
import JSON
import Models
import Security
import ServiceKit

struct TopUpRoutes: Sendable {
    static let bodyBytesMax = 256 << 10
    static let itemsMax = 1000
    /// A problem names at most this many items.
    static let fieldsMax = 20

    let commands: TopUpCommands

    func topUp(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        let items = try request.json { (json) throws(JSONError) in
            try json.onlyMembers(["items"])
            let items = try json.list("items", countMax: Self.itemsMax, TopUp.init(json:))
            guard !items.isEmpty else {
                throw JSONError(path: "items", expected: "an array of 1 to \(Self.itemsMax) elements")
            }
            return items
        }
        let command = try IdempotentCommand(
            request, by: caller.sub, name: "topups", content: JSONWriter.document(items))
        return try await commands.topUp(items, command).response
    }
}

extension TopUp: JSONWritable {
    init(json: JSONValue) throws(JSONError) {
        try json.onlyMembers(["accountId", "amount"])
        account = try json.identifier("accountId")
        amount = try json.exactMoney("amount")
        guard amount.amount > 0 else { throw JSONError(path: "amount.amount", expected: "an integer from 1") }
    }

    func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("accountId", account)
            $0.field("amount", amount)
        }
    }
}

extension TopUpRefusal: ProblemConvertible {
    var problem: Problem {
        .unprocessable(
            fields: items.prefix(TopUpRoutes.fieldsMax).map { item in
                switch item.reason {
                case .noWallet:
                    FieldProblem("items[\(item.place)].accountId", expected: "an account that has a wallet")
                case .overflow:
                    FieldProblem(
                        "items[\(item.place)].amount",
                        expected:
                            "no more than all accounts of the currency may hold together, \(Money.sumMax) minor units"
                    )
                }
            })
    }
}

extension JSONValue {
    /// Money in a command: with no member that is not known.
    func exactMoney(_ name: StaticString) throws(JSONError) -> Money {
        try read(name) { (value) throws(JSONError) in try value.onlyMembers(["amount", "currency"]) }
        return try money(name)
    }
}
