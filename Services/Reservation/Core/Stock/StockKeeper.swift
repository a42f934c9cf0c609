// What keeps the stocks moving without being asked: supply in, holds that ran out released, the waitlist promoted, sold out
// said.
import Models
import Postgres
import Runtime
import ServiceKit
import Synchronization

/// Woken by `StockAlerts`, and once a second for holds that run out.
final class StockKeeper: Component {
    let name = "stock keeper"

    private static let roundInterval = Duration.seconds(1)
    /// Stocks of which it is remembered what failed last.
    private static let failuresMax = 1000

    private let context: ServiceContext
    private let sales: SaleTable
    private let stocks: StockCommands
    private let settlement: SettlementCommands
    private let early: EarlyCancellationCommands
    private let alerts: StockAlerts
    private let taking = Mutex<Task<Void, Never>?>(nil)
    private let rounds = Mutex<Periodic?>(nil)
    /// Sales that could not be taken over when they changed.
    private let untaken = Mutex<Set<SaleID>>([])
    /// What came back while an older version ran was looked for.
    private let hasLookedBack = Atomic(false)

    init(
        _ context: ServiceContext, sales: SaleTable, stocks: StockCommands, settlement: SettlementCommands,
        early: EarlyCancellationCommands, alerts: StockAlerts
    ) {
        self.context = context
        self.sales = sales
        self.stocks = stocks
        self.settlement = settlement
        self.early = early
        self.alerts = alerts
    }

    func start() async throws {
        let taking = Task.detached { [self] in
            for await saleId in sales.changes {
                do { try await stocks.takeOver(saleId) } catch {
                    // The next round says why, if it fails there too.
                    untaken.withLock { _ = $0.insert(saleId) }
                    alerts.raise()
                }
            }
        }
        self.taking.withLock { $0 = taking }
        let failures = KeeperFailures(log: context.log, atMost: Self.failuresMax)
        let rounds = Periodic(every: Self.roundInterval) { [self] in await round(failures) }
        self.rounds.withLock { $0 = rounds }
        alerts.connect(rounds)
        rounds.start()
    }

    func stop() async {
        let taking = taking.withLock { $0 }
        taking?.cancel()
        await taking?.value
        await rounds.withLock { $0 }?.stop()
    }

    /// Everything once. Each stock by itself: one that fails does not keep the others waiting, nor does one with a lot
    /// to do, which gets its next turn behind them.
    private func round(_ failures: KeeperFailures) async {
        failures.begin()
        for saleId in untaken.withLock({ $0 }) {
            await failures.attempt("take a sale's supply over", "\(saleId)") {
                try await stocks.takeOver(saleId)
                untaken.withLock { _ = $0.remove(saleId) }
            }
        }
        var hasMore = false
        await failures.attempt("end orders whose cancellations came first") { hasMore = try await early.endMissed() }
        var keys: [StockKey] = []
        await failures.attempt("look for holds that ran out") {
            keys = try await found(
                SettlementStatements.overdue(before: SettlementCommands.overdue(at: context.now())))
        }
        for key in keys {
            await failures.attempt("release holds that ran out", "\(key)") {
                if try await settlement.expire(key) { hasMore = true }
            }
        }
        keys = []
        await failures.attempt("look for stocks to attend to") {
            keys = try await found(StockStatements.unattended(at: context.now()))
            if !hasLookedBack.load(ordering: .relaxed) {
                keys += try await found(StockStatements.returnedUnnoted(at: context.now()))
                hasLookedBack.store(true, ordering: .relaxed)
            }
        }
        for key in keys {
            await failures.attempt("promote the waitlist", "\(key)") {
                if try await stocks.attend(key) { hasMore = true }
            }
        }
        failures.end()
        if hasMore { alerts.raise() }
    }

    private func found(_ statement: SQL) async throws -> [StockKey] {
        try StockStatements.keyRow.all(try await context.postgres.query(statement))
    }
}
