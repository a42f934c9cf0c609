// Routes of the installation's operator.
import HTTP
import JSON
import Models
import Security
import ServiceKit

struct OperatorRoutes: Sendable {
    let commands: OperatorCommands
    let accounts: AccountCommands

    func signIn(_ request: HTTPRequest) async throws -> HTTPResponse {
        let secret = try request.json { (json) throws(JSONError) in
            try json.onlyMembers(["secret"])
            return try json.string("secret")
        }
        guard let (accessToken, seconds) = try await commands.signIn(secret, from: request.remoteNetwork) else {
            throw Problem.wrongCredentials("The secret is wrong")
        }
        var writer = JSONWriter(capacity: 512)
        writer.object {
            $0.field("accessToken", accessToken)
            $0.field("expiresInSeconds", seconds)
        }
        return .json(201, writer.bytes)
    }

    func makeBrand(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        let wanted = try SignUp(request)
        let command = try wanted.command(of: request, kind: .brand, by: caller.sub)
        return AccountRoutes.made(try await accounts.makeBrand(wanted, command, from: Client(request)), .body)
    }

    func importAccounts(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        let wanted = try request.json(AccountImport.init(json:))
        let accounts = try await commands.importAccounts(wanted)
        var writer = JSONWriter(capacity: 512 * accounts.count)
        writer.object { $0.field("items", accounts) }
        return .json(200, writer.bytes)
    }
}

extension ImportedAccount: JSONWritable {
    func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("subject", subject)
            $0.field("accountId", accountId)
            $0.field("accessToken", optional: accessToken)
        }
    }
}

extension AccountImport {
    init(json: JSONValue) throws(JSONError) {
        try json.onlyMembers(["issuer", "sessions", "accounts"])
        let accounts = try json.list("accounts", countMax: AccountRules.importMax, FederatedAccount.init(json:))
        guard !accounts.isEmpty else { throw JSONError(path: "accounts", expected: "at least one account") }
        var subjects: Set<String> = []
        for (index, account) in accounts.enumerated() where !subjects.insert(account.subject).inserted {
            throw JSONError(path: "accounts[\(index)].subject", expected: "a subject that was not listed before")
        }
        self.init(
            issuer: try json.string("issuer", charactersMax: AccountRules.issuerCharactersMax),
            wantsSessions: json["sessions"] == nil ? false : try json.boolean("sessions"), accounts: accounts)
    }
}

extension FederatedAccount {
    init(json: JSONValue) throws(JSONError) {
        try json.onlyMembers(["subject", "displayName", "locale", "authorisations"])
        self.init(
            subject: try json.string("subject", charactersMax: AccountRules.subjectCharactersMax),
            displayName: try json.displayName(), locale: try json.languageTag("locale"),
            authorisations: try json.optionalList("authorisations", countMax: Account.authorisationsMax) {
                (authorisation) throws(JSONError) in
                try authorisation.onlyMembers(["payeeId", "limit", "publisher"])
                return try Account.Authorisation(json: authorisation)
            } ?? [])
    }
}
