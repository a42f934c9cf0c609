// What the installation's operator does: sign in, bring in the accounts of an identity provider.
import EventPipeline
import HTTP
import JSON
import Models
import Security
import ServiceKit

struct OperatorRoutes: Sendable {
    /// The one operator: has no account, no wallet, no conversations.
    static let operatorID = AccountID(high: 0, low: 1)

    let context: ServiceContext
    let door: Doorkeeper
    let relay: Relay
    let attempts: AttemptStorage
    let keys: KeyRing
    /// The digest of the operator's secret; nil where none is configured: then nobody is an operator.
    let secretDigest: [UInt8]?
    let tokenSeconds: Int64

    var routes: [Route] {
        [
            Route(.post, "/v1/operator/session") { try await signIn($0) },
            // A thousand accounts of ten authorisations each. Signs up to a thousand tokens, so not on the event loop.
            Route(.post, "/v1/operator/accounts", bodyBytesMax: 4 << 20, computes: true) {
                try await importAccounts($0)
            }.admitting { _ = try door.operator($0) },
        ]
    }

    private func signIn(_ request: HTTPRequest) async throws -> HTTPResponse {
        let secret = try request.json { (json) throws(JSONError) in
            try json.onlyMembers(["secret"])
            return try json.string("secret")
        }
        let isRight = try await attempts.attempt([.operatorSecret(from: request.remoteNetwork)]) {
            let isRight = secretDigest.map { Digest.constantTimeEqual($0, Digest.sha256(secret.utf8)) } ?? false
            return (isFailure: !isRight, found: isRight)
        }
        guard isRight else { throw Problem.wrongCredentials("The secret is wrong") }
        let token = try keys.issue(
            Self.operatorID, kind: .operator, session: context.newID(), at: context.now())
        return Representation.document(201) { writer in
            writer.object {
                $0.field("accessToken", token)
                $0.field("expiresInSeconds", tokenSeconds)
            }
        }
    }

    private struct Import: Sendable {
        let issuer: String
        let wantsSessions: Bool
        let accounts: [AccountStorage.Federated]
    }

    private func importAccounts(_ request: HTTPRequest) async throws -> HTTPResponse {
        _ = try door.operator(request)
        let wanted = try request.json { (json) throws(JSONError) in try readImport(json) }
        let newIDs: [AccountID] = wanted.accounts.map { _ in context.newID() }
        let sessionIDs: [SessionID] = wanted.wantsSessions ? wanted.accounts.map { _ in context.newID() } : []
        let tokenSeconds = tokenSeconds
        let (accounts, now) = try await relay.commit { step in
            let accounts = try await AccountStorage.importFederated(
                wanted.accounts, issuer: wanted.issuer, newIDs: newIDs, at: step.now, in: step.transaction)
            if wanted.wantsSessions {
                try await SessionStorage.insertWithoutRefresh(
                    sessionIDs, of: accounts.map(\.accountId), device: "imported from \(wanted.issuer)", at: step.now,
                    expiresAt: step.now.adding(seconds: tokenSeconds), in: step.transaction)
            }
            for account in accounts {
                step.publish(account, cause: request.trace)
            }
            return (accounts, step.now)
        }
        var writer = JSONWriter(capacity: 512 * accounts.count)
        try writer.object { (writer) throws in
            writer.name("items")
            try writer.array { (writer) throws in
                for (index, account) in accounts.enumerated() {
                    let token =
                        wanted.wantsSessions
                        ? try keys.issue(account.accountId, kind: .person, session: sessionIDs[index], at: now) : nil
                    writer.object {
                        $0.field("subject", wanted.accounts[index].subject)
                        $0.field("accountId", account.accountId)
                        $0.field("accessToken", optional: token)
                    }
                }
            }
        }
        return .json(200, writer.bytes)
    }

    private func readImport(_ json: JSONValue) throws(JSONError) -> Import {
        try json.onlyMembers(["issuer", "sessions", "accounts"])
        let accounts = try json.list("accounts", countMax: AccountRules.importMax) {
            (account) throws(JSONError) -> AccountStorage.Federated in
            try account.onlyMembers(["subject", "displayName", "locale", "authorisations"])
            return AccountStorage.Federated(
                subject: try account.string("subject", charactersMax: AccountRules.subjectCharactersMax),
                displayName: try account.displayName(), locale: try account.languageTag("locale"),
                authorisations: try account.optionalList("authorisations", countMax: Account.authorisationsMax) {
                    (authorisation) throws(JSONError) in
                    try authorisation.onlyMembers(["payeeId", "limit", "publisher"])
                    return try Account.Authorisation(json: authorisation)
                } ?? [])
        }
        guard !accounts.isEmpty else { throw JSONError(path: "accounts", expected: "at least one account") }
        var subjects: Set<String> = []
        for (index, account) in accounts.enumerated() where !subjects.insert(account.subject).inserted {
            throw JSONError(path: "accounts[\(index)].subject", expected: "a subject that was not listed before")
        }
        return Import(
            issuer: try json.string("issuer", charactersMax: AccountRules.issuerCharactersMax),
            wantsSessions: json["sessions"] == nil ? false : try json.boolean("sessions"), accounts: accounts)
    }
}
