// The rules of double entry: what may be taken from whom, and what that leaves.
import Models

/// Names an account of the ledger: one owner's money of one kind and currency.
struct LedgerAccountKey: Hashable, Sendable {
    enum Kind: String, Sendable, CaseIterable {
        /// What its owner can spend. Never below zero.
        case wallet
        /// What a brand's captures brought in; refunds go out of it. Never below zero.
        case proceeds
        /// The world outside, where top-ups come from. Below zero by as much as all others hold.
        case bank
    }

    let owner: AccountID
    let kind: Kind
    let currency: Currency
    /// Which part of a brand's proceeds; 0 for the other kinds.
    let slot: Int32

    static func wallet(_ owner: AccountID, _ currency: Currency) -> LedgerAccountKey {
        LedgerAccountKey(owner: owner, kind: .wallet, currency: currency, slot: 0)
    }

    static func proceeds(_ owner: BrandID, _ currency: Currency, slot: Int32) -> LedgerAccountKey {
        LedgerAccountKey(owner: owner, kind: .proceeds, currency: currency, slot: slot)
    }

    static func bank(_ currency: Currency) -> LedgerAccountKey {
        LedgerAccountKey(owner: .bank, kind: .bank, currency: currency, slot: 0)
    }
}

extension Identifier where Kind == Account {
    /// Owner of the bank's accounts: no account of a person or brand.
    static var bank: AccountID { AccountID(high: 0, low: 0) }
}

/// An account as a transaction has locked it.
struct LedgerAccount: Equatable, Sendable {
    let number: Int64
    let key: LedgerAccountKey
    /// In minor units.
    var balance: Int64
}

/// One amount that leaves one account and reaches another of the same currency.
struct Transfer: Equatable, Sendable {
    enum Kind: String, Sendable, CaseIterable { case capture, refund, topup }

    let id: TransferID
    let kind: Kind
    let order: OrderID?
    let debit: Int64
    let credit: Int64
    let amount: Money
}

enum LedgerError: Error, Equatable, Sendable {
    case noAccount(LedgerAccountKey)
    case insufficientFunds(available: Int64)
    /// The two accounts keep different currencies, are the same one, or the amount is negative.
    case impossible
    /// The balance would be more than `Money.sumMax`, or as much less than nothing.
    case overflow
}

extension LedgerError: CustomStringConvertible {
    var description: String {
        switch self {
        case .noAccount(let key):
            "expected that \(key.owner) has an account of kind \(key.kind.rawValue) in \(key.currency.code)"
        case .insufficientFunds(let available):
            "expected an account that holds the amount, it holds \(available) in minor units"
        case .impossible: "expected an amount from one account to another of the same currency"
        case .overflow: "expected a sum that an account can hold"
        }
    }
}

/// The accounts that a transaction has locked, as they stand after the transfers that it has decided so far.
struct Ledger: Sendable {
    private var accounts: [LedgerAccountKey: LedgerAccount]
    private(set) var transfers: [Transfer] = []

    init(_ locked: [LedgerAccount]) {
        accounts = Dictionary(locked.map { ($0.key, $0) }, uniquingKeysWith: { first, _ in first })
    }

    subscript(_ key: LedgerAccountKey) -> LedgerAccount? { accounts[key] }

    /// Decides a transfer, or changes nothing and says why not.
    mutating func transfer(
        _ amount: Int64, from debit: LedgerAccountKey, to credit: LedgerAccountKey, kind: Transfer.Kind,
        order: OrderID?, id: TransferID
    ) throws(LedgerError) {
        guard debit.currency == credit.currency, debit != credit, amount >= 0 else { throw .impossible }
        guard let payer = accounts[debit] else { throw .noAccount(debit) }
        guard let payee = accounts[credit] else { throw .noAccount(credit) }
        guard debit.kind == .bank || payer.balance >= amount else {
            throw .insufficientFunds(available: payer.balance)
        }
        let (left, isTooLow) = payer.balance.subtractingReportingOverflow(amount)
        let (reached, isTooHigh) = payee.balance.addingReportingOverflow(amount)
        // The bank owes what all others of its currency hold: where it keeps to the bound, so does every sum of theirs.
        guard !isTooLow, !isTooHigh, left >= -Money.sumMax, reached <= Money.sumMax else { throw .overflow }
        accounts[debit]?.balance = left
        accounts[credit]?.balance = reached
        transfers.append(
            Transfer(
                id: id, kind: kind, order: order, debit: payer.number, credit: payee.number,
                amount: Money(amount, debit.currency)))
    }
}
