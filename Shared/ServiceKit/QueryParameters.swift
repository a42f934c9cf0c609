// What a query names: an identifier, or one of a few choices.
import HTTP
import Models

extension HTTPRequest {
    /// An identifier of the query, nil where there is none.
    /// - Throws: `Problem` 400 where it is no UUID.
    public func queryIdentifier<Kind>(
        _ name: String, of kind: Identifier<Kind>.Type = Identifier<Kind>.self
    ) throws(Problem) -> Identifier<Kind>? {
        try queryValue(name, expected: "a UUID") { Identifier<Kind>($0) }
    }

    /// One of the choices, nil where the query has none.
    /// - Throws: `Problem` 400 where it is none of them.
    public func queryChoice<Choice: RawRepresentable<String> & CaseIterable>(
        _ name: String, of kind: Choice.Type = Choice.self
    ) throws(Problem) -> Choice? {
        let known = Choice.allCases.map(\.rawValue).joined(separator: ", ")
        return try queryValue(name, expected: "one of \(known)") { Choice(rawValue: $0) }
    }

    private func queryValue<Value>(
        _ name: String, expected: String, _ read: (String) -> Value?
    ) throws(Problem) -> Value? {
        guard let text = query[name] else { return nil }
        guard let value = read(text) else {
            throw .badRequest(fields: [FieldProblem(name, expected: expected)])
        }
        return value
    }
}
