// The README and its companions say what is so: every command and file that they name is there.
import Foundation
import Testing

@Suite struct DocumentTests {
    private static let documents = [
        "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/operations.md", "docs/architecture.md",
    ]

    /// The lines of fenced blocks, with continuation lines joined.
    private func commands(_ document: String) throws -> [String] {
        var commands: [String] = []
        var isInside = false
        var continued = ""
        for line in try SourceTree.text(document).split(separator: "\n", omittingEmptySubsequences: false) {
            if line.hasPrefix("```") {
                isInside = !isInside && (line == "```sh" || line == "```console" || line == "```bash")
                continue
            }
            guard isInside else { continue }
            if line.hasSuffix("\\") {
                continued += line.dropLast()
            } else {
                commands.append(continued + line)
                continued = ""
            }
        }
        return commands
    }

    @Test func everyMakeVerbThatIsNamedExists() throws {
        let makefile = try SourceTree.text("Makefile")
        var seen = 0
        for document in Self.documents {
            let text = try SourceTree.text(document)
            for match in text.matches(of: /make ([a-z-]+)/) where isCommand(text, match.range) {
                seen += 1
                #expect(makefile.contains("\n\(match.1):"), "\(document): make \(match.1)")
            }
        }
        #expect(seen > 5)
    }

    /// Written as code, in a block or between backquotes.
    private func isCommand(_ text: String, _ range: Range<String.Index>) -> Bool {
        guard range.lowerBound > text.startIndex else { return false }
        return ["`", "\n", " "].contains(text[text.index(before: range.lowerBound)])
            && (text[..<range.lowerBound].hasSuffix("`") || text[..<range.lowerBound].hasSuffix("\n"))
    }

    @Test func everyMakeVerbIsHelped() throws {
        let makefile = try SourceTree.text("Makefile")
        let phony = try #require(makefile.firstMatch(of: /\.PHONY: (.*)/)).1.split(separator: " ")
        for verb in phony { #expect(makefile.contains("\n\(verb): ##"), "make \(verb) has no help") }
    }

    @Test func everyFileThatIsLinkedExists() throws {
        for document in Self.documents {
            let folder = document.split(separator: "/").dropLast().map { "\($0)/" }.joined()
            for match in try SourceTree.text(document).matches(of: /\]\(([^)#:]+)\)/) {
                let path = "\(SourceTree.root)/\(folder)\(match.1)"
                #expect(FileManager.default.fileExists(atPath: path), "\(document): \(match.1)")
            }
        }
    }

    @Test func everyStampedeCommandThatIsShownExists() throws {
        let sources = try SourceTree.files(under: ["Tools/Stampede/Core/Commands"], ending: [".swift"])
        let names = Set(
            sources.flatMap { $0.text.matches(of: /CommandDescription\(\s*"([a-z ]+)"/).map { String($0.1) } })
        let options = Set(sources.flatMap { $0.text.matches(of: /Option\(\s*"([a-z-]+)"/).map { String($0.1) } })
            .union(["help", "json", "environment", "version"])
        #expect(names.contains("rush") && names.contains("dead list"))
        var seen = 0
        for document in Self.documents {
            for command in try commands(document) {
                guard let range = command.range(of: "stampede "), !command.contains("--entrypoint") else { continue }
                let words = command[range.upperBound...].split(separator: " ").map(String.init)
                guard let first = words.first, !first.hasPrefix("-") else { continue }
                let two = words.prefix(2).joined(separator: " ")
                seen += 1
                #expect(names.contains(first) || names.contains(two), "\(document): \(command)")
                for word in words where word.hasPrefix("--") && !word.hasPrefix("--%") {
                    let option = word.dropFirst(2).prefix { $0 != "=" }
                    #expect(options.contains(String(option)), "\(document): \(command)")
                }
            }
        }
        #expect(seen >= 5)
    }
}
