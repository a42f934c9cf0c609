import Models
import TestSupport
import Testing

@testable import PaymentCore

@Suite struct LedgerTests {
    let owner = AccountID(high: 7, low: 7)
    let brand = AccountID(high: 8, low: 8)
    let dollars = Currency("USD") ?? .cny

    func ledger(_ balance: Int64) -> Ledger {
        Ledger([
            LedgerAccount(number: 1, key: .bank(.cny), balance: 0),
            LedgerAccount(number: 2, key: .wallet(owner, .cny), balance: balance),
            LedgerAccount(number: 3, key: .proceeds(brand, .cny, slot: 0), balance: 0),
            LedgerAccount(number: 4, key: .wallet(owner, dollars), balance: 1000),
        ])
    }

    @Test func aTransferMovesItsAmountFromOneAccountToTheOther() throws {
        var ledger = ledger(100)
        let id = TransferID(high: 1, low: 1)
        try ledger.transfer(
            60, from: .wallet(owner, .cny), to: .proceeds(brand, .cny, slot: 0), kind: .capture,
            order: OrderID(high: 2, low: 2), id: id)
        #expect(ledger[.wallet(owner, .cny)]?.balance == 40)
        #expect(ledger[.proceeds(brand, .cny, slot: 0)]?.balance == 60)
        #expect(
            ledger.transfers == [
                Transfer(
                    id: id, kind: .capture, order: OrderID(high: 2, low: 2), debit: 2, credit: 3,
                    amount: Money(60, .cny))
            ])
    }

    @Test func aWalletIsEmptiedToZeroAndNotBelow() throws {
        var ledger = ledger(100)
        let (wallet, proceeds) = (
            LedgerAccountKey.wallet(owner, .cny), LedgerAccountKey.proceeds(brand, .cny, slot: 0)
        )
        #expect(throws: LedgerError.insufficientFunds(available: 100)) {
            try ledger.transfer(
                101, from: wallet, to: proceeds, kind: .capture, order: nil, id: TransferID(high: 1, low: 1))
        }
        #expect(ledger.transfers.isEmpty && ledger[wallet]?.balance == 100)
        try ledger.transfer(
            100, from: wallet, to: proceeds, kind: .capture, order: nil, id: TransferID(high: 1, low: 2))
        #expect(ledger[wallet]?.balance == 0)
        #expect(throws: LedgerError.insufficientFunds(available: 0)) {
            try ledger.transfer(
                1, from: wallet, to: proceeds, kind: .capture, order: nil, id: TransferID(high: 1, low: 3))
        }
    }

    @Test func theBankGoesBelowZeroByWhatItGave() throws {
        var ledger = ledger(0)
        try ledger.transfer(
            500, from: .bank(.cny), to: .wallet(owner, .cny), kind: .topup, order: nil,
            id: TransferID(high: 1, low: 1))
        #expect(ledger[.bank(.cny)]?.balance == -500)
        #expect(ledger[.wallet(owner, .cny)]?.balance == 500)
    }

    @Test func whatCannotBeATransferIsRefusedAndChangesNothing() {
        var ledger = ledger(100)
        let wallet = LedgerAccountKey.wallet(owner, .cny)
        let cases: [(Int64, LedgerAccountKey, LedgerAccountKey, LedgerError)] = [
            (1, wallet, .wallet(owner, dollars), .impossible),
            (1, wallet, wallet, .impossible),
            (-1, wallet, .bank(.cny), .impossible),
            (1, wallet, .proceeds(brand, .cny, slot: 9), .noAccount(.proceeds(brand, .cny, slot: 9))),
            (1, .wallet(brand, .cny), wallet, .noAccount(.wallet(brand, .cny))),
            (.max, .bank(.cny), wallet, .overflow),
            (Money.sumMax - 99, .bank(.cny), wallet, .overflow),
        ]
        for (amount, debit, credit, error) in cases {
            #expect(throws: error) {
                try ledger.transfer(
                    amount, from: debit, to: credit, kind: .topup, order: nil, id: TransferID(high: 1, low: 1))
            }
        }
        #expect(ledger.transfers.isEmpty && ledger[wallet]?.balance == 100)
    }

    /// No account of a currency, and no sum of them, is more than what a browser reads exactly.
    @Test func allAccountsTogetherHoldNoMoreThanIsToldExactly() throws {
        var ledger = ledger(0)
        func topUp(_ amount: Int64) throws(LedgerError) {
            try ledger.transfer(
                amount, from: .bank(.cny), to: .wallet(owner, .cny), kind: .topup, order: nil,
                id: TransferID(high: 1, low: 1))
        }
        try topUp(Money.sumMax)
        try ledger.transfer(
            Money.sumMax, from: .wallet(owner, .cny), to: .proceeds(brand, .cny, slot: 0), kind: .capture, order: nil,
            id: TransferID(high: 1, low: 2))
        #expect(throws: LedgerError.overflow) { try topUp(1) }
        #expect(Money.sumMax == 9_007_199_254_740_991 && Money.amountMax < Money.sumMax)
    }

    @Test(arguments: 1...20) func whateverIsTransferredTheSumStaysZeroAndNoWalletIsOverdrawn(seed: Int) {
        var random = SeededRandom(seed: UInt64(seed))
        let keys: [LedgerAccountKey] =
            [.bank(.cny)] + (0..<5).map { .wallet(AccountID(high: 1, low: $0), .cny) }
            + (0..<3).map { .proceeds(brand, .cny, slot: $0) }
        var ledger = Ledger(
            keys.enumerated().map { LedgerAccount(number: Int64($0.offset), key: $0.element, balance: 0) })
        var taken = 0
        for unit in 0..<500 {
            let amount = Int64(random.int(in: 0...1000))
            let kind = random.pick(Transfer.Kind.allCases)
            let (debit, credit) = (random.pick(keys), random.pick(keys))
            do {
                try ledger.transfer(
                    amount, from: debit, to: credit, kind: kind, order: nil,
                    id: TransferID(high: 1, low: UInt64(unit)))
                taken += 1
            } catch {}
            let balances = keys.compactMap { ledger[$0]?.balance }
            #expect(balances.reduce(0, +) == 0)
            #expect(balances.dropFirst().allSatisfy { $0 >= 0 })
        }
        #expect(ledger.transfers.count == taken && taken > 50)
    }
}
