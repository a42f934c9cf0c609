// Payments by hand: those that arrive while a transaction runs share the next one.
import EventPipeline
import Models
import Observability
import Postgres
import ServiceKit

/// Captures held orders for their buyers. Two payments of one order, or of one wallet, are decided one after the other
/// however they arrive: within a group in memory, between groups by row locks.
struct PaymentCommands: Sendable {
    struct Payment: Sendable {
        let idempotent: IdempotentCommand
        let order: OrderID
        let trace = TraceContext.current

        var buyer: AccountID { idempotent.key.owner }
    }

    private let group: GroupCommit<Payment, KeptAnswer>

    init(_ relay: Relay, newID: @escaping @Sendable () -> PaymentID, counters: LedgerCounters) {
        group = GroupCommit(relay: relay, commandsMax: 500, waitingMax: 20_000) { payments, unit in
            try await Self.pay(payments, unit, newID, counters)
        }
    }

    /// - Throws: `Settlement.Refusal`, `IdempotencyRefusal`, or `Overloaded` when too many wait.
    func pay(_ payment: Payment) async throws -> KeptAnswer { try await group.submit(payment) }

    private static func pay(
        _ payments: [Payment], _ unit: UnitOfWork, _ newID: @Sendable () -> PaymentID, _ counters: LedgerCounters
    ) async throws -> [Result<KeptAnswer, any Error>] {
        var unclaimed: Set<IdempotencyKey> = []
        let keys = payments.map(\.idempotent.key).filter { unclaimed.insert($0).inserted }
        let orders = Set(payments.map(\.order))
        let rows = try await unit.transaction.pipeline([
            IdempotencyStatements.claim(keys),
            IdempotencyStatements.kept(keys),
            OrderStatements.lock(orders),
            LedgerStatements.lockAccounts(
                buyers: Set(payments.map(\.buyer)), brands: [], slot: 0, orders: orders),
            // After the locks: who had to wait until the hold was over is too late.
            LedgerStatements.clock,
        ])
        let claimed = Set(zip(keys, try rows[0].column(0, as: Bool.self)).filter(\.1).map(\.0))
        let kept = try KeptAnswers(rows[1])
        let now = try rows[4].column(0, as: Timestamp.self)[0]
        var settlement = Settlement(
            orders: try OrderStatements.orderRow.all(rows[2]), accounts: try LedgerStatements.accountRow.all(rows[3]))

        var results: [Result<KeptAnswer, any Error>] = []
        var answers: [(key: IdempotencyKey, fingerprint: [UInt8], answer: KeptAnswer)] = []
        for (input, payment) in payments.enumerated() {
            let isFirst = unclaimed.remove(payment.idempotent.key) != nil
            results.append(
                Result {
                    guard isFirst, claimed.contains(payment.idempotent.key) else { throw IdempotencyRefusal.running }
                    if let answer = try kept.answer(payment.idempotent) { return answer }
                    let order = try settlement.pay(
                        payment.order, by: payment.buyer, at: now, payment: newID(), input: input)
                    let answer = try PaymentView(order, createdAt: now).created
                    answers.append((payment.idempotent.key, payment.idempotent.fingerprint, answer))
                    return answer
                })
        }
        counters.count(settlement.ledger.transfers, unit)
        for answer in settlement.answers { unit.publish(answer.event, cause: payments[answer.input].trace) }
        if !answers.isEmpty {
            unit.transaction.finish(
                settlement.statements(at: now) + [
                    IdempotencyStatements.keep(answers), IdempotencyStatements.forgetOld(added: answers.count),
                ])
        }
        return results
    }
}
