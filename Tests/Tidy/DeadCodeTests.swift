// What nobody calls.
import Testing

@Suite struct DeadCodeTests {
    /// Declared for somebody else to call: the language, the library, or C.
    private static let calledByOthers: Set<String> = [
        "appendLiteral", "checkIsolated", "isIsolatingCurrentContext", "makeAsyncIterator", "unownedExecutor",
        // By libmicrohttpd, under the name of its own function.
        "answerOfTheParser",
        // By the build.
        "EmbedTexts", "createBuildCommands",
    ]

    private struct Declaration {
        let name: String
        let path: String
    }

    /// The names that occur once: where they are declared.
    private static func unused(_ files: [SourceTree.File]) -> [Declaration] {
        var counts: [Substring: Int] = [:]
        var declarations: [Declaration] = []
        for file in files {
            var follows = false
            for line in file.lines {
                let code = line.firstRange(of: "//").map { line[..<$0.lowerBound] } ?? line
                for word in code.split(whereSeparator: { !($0.isLetter || $0.isNumber || $0 == "_") }) {
                    counts[word, default: 0] += 1
                    if follows { declarations.append(Declaration(name: String(word), path: file.path)) }
                    follows = [
                        "func", "var", "let", "struct", "class", "enum", "actor", "protocol", "typealias",
                    ].contains(word)
                }
                follows = false
            }
        }
        return declarations.filter { counts[$0.name[...]] == 1 }
    }

    /// What tests alone use is theirs to declare.
    @Test func everyDeclarationIsUsedOutsideOfTests() throws {
        let files = try SourceTree.files(under: ["Services", "Shared", "Tools"], ending: [".swift"])
        for declaration in Self.unused(files) where !Self.calledByOthers.contains(declaration.name) {
            Issue.record("\(declaration.path): nothing uses \(declaration.name)")
        }
    }

    @Test func aDeclarationThatNothingUsesIsFound() {
        let file = SourceTree.File(
            path: "A.swift",
            text: """
                struct Used { let member = 1  // unused
                    func unused() {} }
                let value = Used().member
                print(value)
                """)
        #expect(Self.unused([file]).map(\.name) == ["unused"])
    }
}
