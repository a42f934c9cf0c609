// Topic `accounts`: a wallet opens when an account does, and obeys nobody once the account is gone.
import EventPipeline
import JSON
import Models

/// Opens the wallets of new accounts. What changes in an account later does not concern its wallet, until it is deleted:
/// then nobody may take from the wallet any more. What is in it, and what came and went, stays in the books.
struct WalletEvents: EventHandler {
    /// The currency of a new wallet.
    let opening: Currency

    func apply(_ batch: EventBatch, _ unit: UnitOfWork) async throws {
        let events = batch.read(unit, only: AccountNews.types) { (type, json) throws(JSONError) -> AccountNews? in
            let news = try AccountNews(type, json)
            if case .account(let account) = news, account.kind == .operator { return nil }
            return news
        }
        // Of an account that comes twice the first counts: its wallet opens with what that one brings along.
        var seen: Set<AccountID> = []
        var new: [Account] = []
        var deleted: Set<AccountID> = []
        for event in events {
            switch event.value {
            case .account(let account): if seen.insert(account.accountId).inserted { new.append(account) }
            case .deleted(let event): deleted.insert(event.accountId)
            }
        }
        if !new.isEmpty {
            unit.transaction.finish(WalletStatements.open(new, opening: opening))
        }
        // Behind the openings: an account may come and go within a batch.
        if !deleted.isEmpty { unit.transaction.finish(AuthorisationStatements.deleteAll(deleted.sorted())) }
    }
}
