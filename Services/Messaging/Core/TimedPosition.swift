// What requests of several routes have in common: who asks, for which page, of what.
import HTTP
import JSON
import Models
import Security
import ServiceKit

/// Knows the caller of a request by its token.
struct Doorkeeper: Sendable {
    let verifier: TokenVerifier
    let now: @Sendable () -> Timestamp

    /// Any caller with a valid token.
    func caller(_ request: HTTPRequest) throws(Problem) -> AccessClaims {
        try request.claims(using: verifier, now: now())
    }

    /// A caller that has an account: a person or a brand.
    func member(_ request: HTTPRequest) throws(Problem) -> AccessClaims {
        let claims = try caller(request)
        try claims.require(.person, .brand)
        return claims
    }

    func `operator`(_ request: HTTPRequest) throws(Problem) -> AccessClaims {
        let claims = try caller(request)
        try claims.require(.operator)
        return claims
    }
}

extension HTTPRequest {
    /// A path's identifier. What is no UUID names nothing.
    func identifier<Kind>(_ name: String, of kind: Identifier<Kind>.Type = Identifier<Kind>.self) throws(Problem)
        -> Identifier<Kind>
    {
        guard let id = Identifier<Kind>(pathParameters[name] ?? "") else { throw .notFound() }
        return id
    }

    /// `after` of a numbered list: the number that the reader has last.
    func after(_ query: [String: String]) throws(Problem) -> Int64 {
        guard let text = query["after"] else { return 0 }
        guard let number = Int64(text), number >= 0 else {
            throw .badRequest(fields: [FieldProblem("after", expected: "an integer from 0")])
        }
        return number
    }
}

/// A place in a list in the order of time; what has the same time is in the order of identifiers.
struct TimedPosition<ID: LosslessStringConvertible & Sendable>: LosslessStringConvertible, Sendable {
    let time: Timestamp
    let id: ID

    init(time: Timestamp, id: ID) {
        self.time = time
        self.id = id
    }

    init?(_ description: String) {
        let parts = description.split(separator: "_", maxSplits: 1)
        guard parts.count == 2, let time = Int64(parts[0]), let id = ID(String(parts[1])),
            (Timestamp.distantPast.microseconds...Timestamp.distantFuture.microseconds).contains(time)
        else { return nil }
        self.init(time: Timestamp(microseconds: time), id: id)
    }

    var description: String { "\(time.microseconds)_\(id)" }
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
