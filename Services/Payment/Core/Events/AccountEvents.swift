// Topic `accounts`: a wallet opens when an account does.
import EventPipeline
import JSON
import Models

/// Opens the wallets of new accounts. What changes in an account later does not concern its wallet.
struct AccountEvents: EventHandler {
    /// The currency of a new wallet.
    let opening: Currency

    func apply(_ batch: EventBatch, _ step: Step) async throws {
        let accounts = batch.read(step, only: [Account.type]) { (_, json) throws(JSONError) -> Account? in
            let account = try Account(json: json)
            return account.kind == .operator ? nil : account
        }
        // Of an account that comes twice the first counts: its wallet opens with what that one brings along.
        var seen: Set<AccountID> = []
        let new = accounts.map(\.value).filter { seen.insert($0.accountId).inserted }
        guard !new.isEmpty else { return }
        step.transaction.finish([LedgerStatements.planOnce, WalletStatements.open(new, opening: opening)])
    }
}
