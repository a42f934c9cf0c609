// Payments by hand: those that arrive while a transaction runs share the next one.
import EventPipeline
import HTTP
import JSON
import Models
import Observability
import Postgres
import ServiceKit

/// Captures held orders for their buyers. Two payments of one order, or of one wallet, are decided one after the other
/// however they arrive: within a group in memory, between groups by row locks.
struct PayDesk: Sendable {
    struct Command: Sendable {
        let idempotent: IdempotentCommand
        let order: OrderID
        let trace = TraceContext.current

        var buyer: AccountID { idempotent.key.owner }
    }

    private let group: GroupCommit<Command, KeptAnswer>

    init(_ relay: Relay, newID: @escaping @Sendable () -> PaymentID, ledger: LedgerCounters) {
        group = GroupCommit(relay: relay, commandsMax: 500, waitingMax: 20_000) { commands, step in
            try await Self.pay(commands, step, newID, ledger)
        }
    }

    /// - Throws: `Problem`: the refusal, or 503 when too many wait.
    func pay(_ command: Command) async throws -> KeptAnswer {
        let group = group
        do {
            return try await retryingLostRaces { try await group.submit(command) }
        } catch let overloaded as Overloaded {
            throw Problem.unavailable(retryAfterSeconds: 1, overloaded.description)
        }
    }

    private static func pay(
        _ commands: [Command], _ step: Step, _ newID: @Sendable () -> PaymentID, _ ledger: LedgerCounters
    ) async throws -> [Result<KeptAnswer, any Error>] {
        var unclaimed: Set<IdempotencyKey> = []
        let keys = commands.map(\.idempotent.key).filter { unclaimed.insert($0).inserted }
        let orders = Set(commands.map(\.order))
        let rows = try await step.transaction.pipeline([
            IdempotencyStatements.claim(keys),
            IdempotencyStatements.kept(keys),
            OrderStatements.lock(orders),
            LedgerStatements.lockAccounts(
                buyers: Set(commands.map(\.buyer)), brands: [], slot: 0, orders: orders),
            // After the locks: who had to wait until the hold was over is too late.
            LedgerStatements.clock,
        ])
        let claimed = Set(zip(keys, try rows[0].column(0, as: Bool.self)).filter(\.1).map(\.0))
        let kept = try KeptAnswers(rows[1])
        let now = try rows[4].column(0, as: Timestamp.self)[0]
        var settlement = Settlement(
            orders: try OrderStatements.orders(rows[2]), accounts: try LedgerStatements.accounts(rows[3]))

        var results: [Result<KeptAnswer, any Error>] = []
        var answers: [(key: IdempotencyKey, fingerprint: [UInt8], answer: KeptAnswer)] = []
        for (input, command) in commands.enumerated() {
            let isFirst = unclaimed.remove(command.idempotent.key) != nil
            results.append(
                Result {
                    guard isFirst, claimed.contains(command.idempotent.key) else { throw IdempotentCommand.running }
                    if let answer = try kept.answer(command.idempotent) { return answer }
                    let order = try settlement.pay(
                        command.order, by: command.buyer, at: now, payment: newID(), input: input)
                    let answer = try PaymentDocument(order, createdAt: now).created
                    answers.append((command.idempotent.key, command.idempotent.fingerprint, answer))
                    return answer
                }.mapError { ($0 as? Settlement.Refusal)?.problem ?? $0 })
        }
        ledger.count(settlement.ledger.transfers, step)
        for answer in settlement.answers { step.publish(answer.event, cause: commands[answer.input].trace) }
        if !answers.isEmpty {
            step.transaction.finish(
                settlement.statements(at: now) + [
                    IdempotencyStatements.keep(answers), IdempotencyStatements.forgetOld(added: answers.count),
                ])
        }
        return results
    }
}

extension Settlement.Refusal {
    var problem: Problem {
        switch self {
        case .unknownOrder: .notFound("There is no such order of yours, or its reservation has not arrived yet.")
        case .alreadyPaid: .conflict(type: "already-paid", "The order is paid.")
        case .holdOver: .conflict(type: "hold-over", "The order no longer holds a unit.")
        case .insufficientFunds: .conflict(type: "insufficient-funds", "The wallet holds less than the price.")
        }
    }
}

/// A payment as its buyer and its brand see it.
struct PaymentDocument: JSONWritable {
    let payment: PaymentID
    let order: PaymentOrder
    let amount: Money
    let createdAt: Timestamp

    /// - Throws: when the order was never paid.
    init(_ order: PaymentOrder, createdAt: Timestamp) throws(LedgerError) {
        guard let payment = order.payment, let due = order.due else { throw .impossible }
        self.payment = payment
        self.order = order
        amount = due.price
        self.createdAt = createdAt
    }

    func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("paymentId", payment)
            $0.field("orderId", order.id)
            $0.field("saleId", order.sale)
            $0.field("buyerId", order.buyer)
            $0.field("brandId", order.brand)
            $0.field("amount", amount)
            $0.field("state", order.state.rawValue)
            $0.field("createdAt", createdAt)
        }
    }

    var created: KeptAnswer {
        KeptAnswer(status: 201, location: "/v1/payments/\(payment)", body: JSONWriter.document(self))
    }
}
