// Changes who may charge a wallet without asking.
import JSON
import Models
import Postgres
import ServiceKit

struct AuthorisationCommands: Sendable {
    enum Refusal: Error, Sendable {
        case noWallet
        /// Who would be authorised sells nothing.
        case noPayee
        case tooMany
        case notAuthorised
    }

    let postgres: PostgresPool

    /// Lets a brand charge the wallet for orders that are reserved from now on, each up to the limit: those that the owner
    /// placed in the app, and those of the publisher that is named, if one is.
    func put(_ authorisation: Account.Authorisation, by owner: AccountID, if precondition: Precondition) async throws {
        try await postgres.retryingTransaction { transaction in
            let rows = try await transaction.pipeline([
                WalletStatements.lockWallets(owner),
                AuthorisationStatements.facts(owner, payee: authorisation.payeeId),
                AuthorisationStatements.one(owner, payee: authorisation.payeeId),
            ])
            guard !rows[0].isEmpty else { throw Refusal.noWallet }
            guard let (isBrand, others) = try AuthorisationStatements.factsRow.first(rows[1]), isBrand else {
                throw Refusal.noPayee
            }
            guard others < AuthorisationStatements.countMax else { throw Refusal.tooMany }
            try precondition.check(try AuthorisationStatements.authorisationRow.first(rows[2])?.tag)
            transaction.finish(AuthorisationStatements.put(owner, authorisation))
        }
    }

    func delete(_ payee: BrandID, by owner: AccountID, if precondition: Precondition) async throws {
        try await postgres.retryingTransaction { transaction in
            let rows = try await transaction.pipeline([
                WalletStatements.lockWallets(owner), AuthorisationStatements.one(owner, payee: payee),
            ])
            guard let authorisation = try AuthorisationStatements.authorisationRow.first(rows[1]) else {
                throw Refusal.notAuthorised
            }
            try precondition.check(authorisation.tag)
            transaction.finish(AuthorisationStatements.delete(owner, payee: payee))
        }
    }
}

extension Account.Authorisation {
    var tag: EntityTag { EntityTag(of: JSONWriter.document(self)) }
}
