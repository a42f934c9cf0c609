// How statements in Swift are written.
import Foundation
import Testing

@Suite struct StatementTests {
    /// States that stand in a text as numbers, which only their enumeration should know.
    static func bareStates(_ text: String) -> [String] {
        // Simple: by Unicode's rules `o.state` is one word.
        text.matches(of: /\bstate(?: \+ 0)? (?:=|<|>|<>|<=|>=|IN|BETWEEN) \(?\d/.wordBoundaryKind(.simple))
            .map { String($0.output) }
    }

    @Test func aStateIsNamedAndNotNumbered() throws {
        for file in try SourceTree.files(under: ["Services", "Shared", "Tools"], ending: [".swift"]) {
            #expect(Self.bareStates(file.text).isEmpty, "\(file.path)")
        }
    }

    @Test(arguments: ["WHERE state = 2", "o.state + 0 < 4", "SET state = 3, revision = 1", "state IN (1, 3)"])
    func aNumberIsFound(text: String) { #expect(Self.bareStates(text).count == 1) }

    @Test(arguments: [#"state = \(literal: OrderState.waitlisted)"#, "state = 'draft'", "s.state = $1"])
    func aNameIsFine(text: String) { #expect(Self.bareStates(text).isEmpty) }
}
