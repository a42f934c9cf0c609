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

    /// What the audit may read: views that each service publishes for it, so that its tables stay its own.
    @Test func theAuditReadsViewsAlone() throws {
        var count = 0
        for file in try SourceTree.files(under: ["Tools"], ending: [".swift"]) {
            for match in file.text.matches(of: /\b(?:FROM|JOIN) ([a-z_]+)\b(?! \()/) where match.1 != "unnest" {
                count += 1
                #expect(match.1.hasPrefix("audit_"), "\(file.path): \(match.0)")
            }
        }
        #expect(count > 10)
    }

    @Test(arguments: ["WHERE state = 2", "o.state + 0 < 4", "SET state = 3, revision = 1", "state IN (1, 3)"])
    func aNumberIsFound(text: String) { #expect(Self.bareStates(text).count == 1) }

    @Test(arguments: [#"state = \(literal: OrderState.waitlisted)"#, "state = 'draft'", "s.state = $1"])
    func aNameIsFine(text: String) { #expect(Self.bareStates(text).isEmpty) }
}
