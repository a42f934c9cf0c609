// Carries out top-ups.
import JSON
import Models
import Postgres
import ServiceKit

/// One wallet's top-up.
struct TopUp: Sendable {
    let account: AccountID
    let amount: Money
}

/// Top-ups that cannot be: by their places in the list.
struct TopUpRefusal: Error, Sendable {
    enum Reason: Sendable {
        case noWallet
        /// All accounts of the currency would hold more than `Money.sumMax`.
        case overflow
    }

    let items: [(place: Int, reason: Reason)]
}

struct TopUpCommands: Sendable {
    let postgres: PostgresPool
    let newID: @Sendable () -> TransferID
    let counters: LedgerCounters

    /// Carries out a list of top-ups in one transaction: all of them, or none.
    /// - Throws: `TopUpRefusal`.
    func topUp(_ items: [TopUp], _ command: IdempotentCommand) async throws -> KeptAnswer {
        let (answer, transfers) = try await postgres.retryingTransaction { try await carryOut(items, command, $0) }
        counters.count(transfers)
        return answer
    }

    private func carryOut(
        _ items: [TopUp], _ command: IdempotentCommand, _ transaction: Transaction
    ) async throws -> (KeptAnswer, [Transfer]) {
        let currencies = Set(items.map(\.amount.currency))
        let rows = try await transaction.pipeline([
            IdempotencyStatements.claim([command.key]),
            IdempotencyStatements.kept([command.key]),
            LedgerStatements.openBank(currencies),
            LedgerStatements.openFurther(items.map { ($0.account, $0.amount.currency) }),
            LedgerStatements.lockForTopUp(owners: Set(items.map(\.account)), currencies: currencies),
        ])
        guard try rows[0].column(0, as: Bool.self) == [true] else { throw IdempotencyRefusal.running }
        if let answer = try KeptAnswers(rows[1]).answer(command) { return (answer, []) }

        var ledger = Ledger(try LedgerStatements.accountRow.all(rows[4]))
        var refused: [(place: Int, reason: TopUpRefusal.Reason)] = []
        for (place, item) in items.enumerated() {
            if let reason = try take(item, into: &ledger) { refused.append((place, reason)) }
        }
        guard refused.isEmpty else { throw TopUpRefusal(items: refused) }

        let answer = KeptAnswer(status: 201, location: nil, body: Self.document(items, ledger.transfers))
        transaction.finish([
            LedgerStatements.insert(ledger.transfers),
            IdempotencyStatements.keep([(command.key, command.fingerprint, answer)]),
            IdempotencyStatements.forgetOld(added: 1),
        ])
        return (answer, ledger.transfers)
    }

    private func take(_ item: TopUp, into ledger: inout Ledger) throws(LedgerError) -> TopUpRefusal.Reason? {
        let currency = item.amount.currency
        do {
            try ledger.transfer(
                item.amount.amount, from: .bank(currency), to: .wallet(item.account, currency), kind: .topup,
                order: nil, id: newID())
            return nil
        } catch .noAccount {
            return .noWallet
        } catch .overflow {
            return .overflow
        }
    }

    private static func document(_ items: [TopUp], _ transfers: [Transfer]) -> [UInt8] {
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
