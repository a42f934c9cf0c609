// docs/problems.md lists what the code refuses with, and the one document is made of the four.
import Foundation
import Testing

@Suite struct APITests {
    private struct Kind: Hashable, CustomStringConvertible {
        let type: String
        let status: String
        var description: String { "\(status) \(type)" }
    }

    /// What services and the gateway say, wherever a problem is made.
    private func said() throws -> Set<Kind> {
        var kinds: Set<Kind> = []
        for file in try SourceTree.files(under: ["Services", "Shared"], ending: [".swift"]) {
            for match in file.text.matches(of: /Problem\(\s*(\d{3}), type: "([a-z-]+)"/) {
                kinds.insert(Kind(type: String(match.2), status: String(match.1)))
            }
            for match in file.text.matches(of: /conflict\(\s*type: "([a-z-]+)"/) {
                kinds.insert(Kind(type: String(match.1), status: "409"))
            }
            // No type is made in a way that this would not find.
            let types = file.text.matches(of: /\btype: "([a-z-]+)"/).count
            let found = file.text.matches(of: /(Problem\(\s*\d{3}|conflict\(\s*), ?type: "|conflict\(\s*type: "/).count
            if file.text.contains("Problem(") { #expect(types == found, "\(file.path)") }
        }
        let gateway = try SourceTree.text("deploy/nginx/gateway.conf")
        for match in gateway.matches(of: /\n\s+(\d{3}|default) '([a-z-]+)","title"/) {
            kinds.insert(Kind(type: String(match.2), status: match.1 == "default" ? "503" : String(match.1)))
        }
        return kinds
    }

    @Test func everyTypeOfProblemIsListed() throws {
        let lines = try SourceTree.text("docs/problems.md").split(separator: "\n").filter { $0.hasPrefix("| `") }
        let listed = try lines.map { line in
            let match = try #require(line.wholeMatch(of: /\| `([a-z-]+)` \| (\d{3}) \| [^|]+ \| [^|]+ \|/), "\(line)")
            return Kind(type: String(match.1), status: String(match.2))
        }
        #expect(listed.count == Set(listed.map(\.type)).count, "a type has one status")
        let said = try said()
        #expect(said.count > 30)
        #expect(Set(listed) == said, "\(Set(listed).symmetricDifference(said))")
        #expect(listed.map(\.description) == listed.map(\.description).sorted())
    }

    @Test func theOneDocumentIsCurrent() throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "\(SourceTree.root)/scripts/openapi-bundle")
        process.arguments = ["--check"]
        let output = Pipe()
        process.standardError = output
        try process.run()
        let said = String(decoding: try output.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
        process.waitUntilExit()
        #expect(process.terminationStatus == 0, "\(said)")
    }
}
