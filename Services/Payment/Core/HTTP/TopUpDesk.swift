// Top-ups: an operator brings money from the world outside into wallets.
import HTTP
import JSON
import Models
import Postgres
import ServiceKit

/// Carries out a list of top-ups in one transaction: all of them, or none.
struct TopUpDesk: Sendable {
    /// One wallet's top-up.
    struct Item: Sendable, JSONWritable {
        let account: AccountID
        let amount: Money

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

    static let itemsMax = 1000
    static let bodyBytesMax = 256 << 10
    /// A problem names at most this many items.
    private static let fieldsMax = 20

    let postgres: PostgresPool
    let newID: @Sendable () -> TransferID
    let ledger: LedgerCounters

    static func items(_ request: HTTPRequest) throws -> [Item] {
        try request.json { (json) throws(JSONError) in
            try json.onlyMembers(["items"])
            let items = try json.list("items", countMax: itemsMax, Item.init(json:))
            guard !items.isEmpty else {
                throw JSONError(path: "items", expected: "an array of 1 to \(itemsMax) elements")
            }
            return items
        }
    }

    /// - Throws: `Problem` 422 naming the items whose account has no wallet.
    func topUp(_ items: [Item], _ command: IdempotentCommand) async throws -> KeptAnswer {
        try await retryingLostRaces {
            let (answer, transfers) = try await postgres.transaction { try await carryOut(items, command, $0) }
            ledger.count(transfers)
            return answer
        }
    }

    private func carryOut(
        _ items: [Item], _ command: IdempotentCommand, _ transaction: Transaction
    ) async throws -> (KeptAnswer, [Transfer]) {
        let currencies = Set(items.map(\.amount.currency.code))
        let rows = try await transaction.pipeline([
            IdempotencyStatements.claim([command.key]),
            IdempotencyStatements.kept([command.key]),
            WalletStatements.openBank(currencies),
            WalletStatements.openFurther(items.map { ($0.account, $0.amount.currency.code) }),
            LedgerStatements.lockForTopUp(owners: Set(items.map(\.account)), currencies: currencies),
        ])
        guard try rows[0].column(0, as: Bool.self) == [true] else { throw IdempotentCommand.running }
        if let answer = try KeptAnswers(rows[1]).answer(command) { return (answer, []) }

        var ledger = Ledger(try LedgerStatements.accounts(rows[4]))
        var refused: [FieldProblem] = []
        for (place, item) in items.enumerated() {
            if let problem = try take(item, named: "items[\(place)]", into: &ledger) { refused.append(problem) }
        }
        guard refused.isEmpty else { throw Problem.unprocessable(fields: Array(refused.prefix(Self.fieldsMax))) }

        let answer = KeptAnswer(status: 201, location: nil, body: Self.document(items, ledger.transfers))
        transaction.finish([
            LedgerStatements.insert(ledger.transfers),
            IdempotencyStatements.keep([(command.key, command.fingerprint, answer)]),
            IdempotencyStatements.forgetOld(added: 1),
        ])
        return (answer, ledger.transfers)
    }

    private func take(_ item: Item, named name: String, into ledger: inout Ledger) throws -> FieldProblem? {
        let currency = item.amount.currency
        do {
            try ledger.transfer(
                item.amount.amount, from: .bank(currency), to: .wallet(item.account, currency), kind: .topup,
                order: nil, id: newID())
            return nil
        } catch {
            switch error {
            case .noAccount: return FieldProblem("\(name).accountId", expected: "an account that has a wallet")
            case .overflow:
                return FieldProblem(
                    "\(name).amount",
                    expected: "no more than all accounts of the currency may hold together, \(Money.sumMax) minor units"
                )
            case .insufficientFunds, .impossible: throw error
            }
        }
    }

    private static func document(_ items: [Item], _ transfers: [Transfer]) -> [UInt8] {
        var writer = JSONWriter(capacity: 120 * items.count)
        writer.object {
            $0.name("items")
            $0.array {
                for (item, transfer) in zip(items, transfers) {
                    $0.object {
                        $0.field("accountId", item.account)
                        $0.field("transferId", transfer.id)
                    }
                }
            }
        }
        return writer.bytes
    }
}

extension JSONValue {
    /// Money in a command: with no member that is not known.
    func exactMoney(_ name: StaticString) throws(JSONError) -> Money {
        try read(name) { (value) throws(JSONError) in try value.onlyMembers(["amount", "currency"]) }
        return try money(name)
    }
}
