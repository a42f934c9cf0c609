// Routes of accounts: signing up, what others see, passwords, leaving.
import HTTP
import JSON
import Models
import Postgres
import Security
import ServiceKit

struct AccountRoutes: Sendable {
    let postgres: PostgresPool
    let commands: AccountCommands
    let signIns: SignInCommands

    func signUp(_ request: HTTPRequest) async throws -> HTTPResponse {
        let (wanted, place) = try request.json(SignUp.fromAnybody)
        try request.require(place)
        let command = try wanted.command(of: request, kind: .person, by: IdempotentCommand.nobody)
        return Self.made(try await commands.signUp(wanted, command, from: Client(request)), place)
    }

    /// The answer to whoever has made an account.
    static func made(_ signedIn: SignedIn, _ place: RefreshTokenPlace) -> HTTPResponse {
        HTTPResponse.json(201, JSONWriter.document(SignedInView(signedIn: signedIn, place: place)))
            .with("Location", "/v1/accounts/\(signedIn.account.accountId)")
            .withRefreshToken(signedIn.tokens, in: place)
    }

    func me(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        .json(200, JSONWriter.document(AccountView(account: try await account(caller.sub))))
    }

    func profile(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        .json(200, JSONWriter.document(ProfileView(account: try await account(try request.identifier("id")))))
    }

    private func account(_ id: AccountID) async throws -> Account {
        guard let account = try AccountStatements.accountRow.first(try await postgres.query(AccountStatements.one(id)))
        else { throw Problem.notFound() }
        return account
    }

    func changePassword(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        let (current, wanted) = try request.json { (json) throws(JSONError) in
            try json.onlyMembers(["currentPassword", "newPassword"])
            return (try json.password("currentPassword"), try json.newPassword("newPassword"))
        }
        try await signIns.changePassword(of: caller.sub, from: current, to: wanted, sparing: caller.sid)
        return .empty()
    }

    func delete(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        let password = try request.json { (json) throws(JSONError) -> String? in
            try json.onlyMembers(["password"])
            return json["password"] == nil ? nil : try json.password("password")
        }
        try await commands.delete(caller.sub, password: password)
        return .empty().withoutRefreshCookie
    }
}

extension AccountCommands.Refusal: ProblemConvertible {
    var problem: Problem {
        switch self {
        case .handleTaken(let handle): .conflict(type: "handle-taken", "The handle \(handle) is taken.")
        case .handleReserved(let handle): .conflict(type: "handle-taken", "The handle \(handle) is reserved.")
        }
    }
}

extension SignUp {
    private static let members = ["handle", "password", "displayName", "locale"]

    init(_ request: HTTPRequest) throws {
        self = try request.json { (json) throws(JSONError) in
            try json.onlyMembers(Self.members)
            return try SignUp(json: json)
        }
    }

    /// As a person asks for it, with where the refresh token is to go.
    static func fromAnybody(_ json: JSONValue) throws(JSONError) -> (SignUp, RefreshTokenPlace) {
        try json.onlyMembers(members + ["refreshTokenIn"])
        return (try SignUp(json: json), try json.refreshTokenPlace())
    }

    private init(json: JSONValue) throws(JSONError) {
        self.init(
            handle: try json.handle(), password: try json.newPassword("password"),
            displayName: try json.displayName(), locale: try json.languageTag("locale"))
    }

    /// Without the password: see `AccountCommands`.
    func command(
        of request: HTTPRequest, kind: AccountKind, by sender: AccountID
    ) throws(Problem) -> IdempotentCommand? {
        try IdempotentCommand.optional(
            request, by: sender, name: kind.rawValue, content: JSONWriter.document([handle, displayName, locale]))
    }
}

extension Client {
    init(_ request: HTTPRequest) {
        let device = AccountRules.device(request.header("User-Agent") ?? "")
        self.init(network: request.remoteNetwork, device: device.isEmpty ? "unknown" : device)
    }
}

extension JSONValue {
    /// A handle in its unique form.
    func handle() throws(JSONError) -> String {
        guard let handle = AccountRules.handle(try string("handle")) else {
            throw JSONError(
                path: "handle", expected: "3 to 32 letters or digits, with . _ - between them")
        }
        return handle
    }

    /// A password that is to be tried.
    func password(_ name: StaticString) throws(JSONError) -> String {
        let password = try string(name)
        guard password.unicodeScalars.count <= AccountRules.passwordCharacters.upperBound else {
            throw JSONError(
                path: "\(name)", expected: "at most \(AccountRules.passwordCharacters.upperBound) characters")
        }
        return password
    }

    /// A password that is to be set. Characters are Unicode's, as they are when it is composed.
    func newPassword(_ name: StaticString) throws(JSONError) -> String {
        let password = try string(name)
        guard AccountRules.passwordCharacters.contains(PasswordHash.composed(password).unicodeScalars.count),
            password.unicodeScalars.count <= AccountRules.passwordCharacters.upperBound
        else {
            let range = AccountRules.passwordCharacters
            throw JSONError(path: "\(name)", expected: "\(range.lowerBound) to \(range.upperBound) characters")
        }
        return password
    }

    func displayName() throws(JSONError) -> String {
        try string("displayName", charactersMax: Account.displayNameCharactersMax)
    }
}
