// How a service is divided: into features, which meet by what they declare.
import Testing

@Suite struct RoomTests {
    /// A file of a service's core: `Services/Payment/Core/Wallets/WalletRoutes.swift`.
    private struct File {
        let source: SourceTree.File
        let service: Substring
        /// Nil beside the composition root.
        let room: Substring?

        var name: Substring { source.path.split(separator: "/").last?.split(separator: ".").first ?? "" }

        var isFeature: Bool { source.text.contains(/\nstruct \w+: Feature \{/) }

        private var code: [Substring] {
            source.lines.map { line in line.firstRange(of: "//").map { line[..<$0.lowerBound] } ?? line }
        }

        /// What it declares for all of the module.
        var types: [String] {
            code.compactMap { line in
                line.prefixMatch(of: /(?:final )?(?:struct|enum|class|protocol|actor|typealias) (\w+)/).map {
                    String($0.1)
                }
            }
        }

        var words: Set<String> {
            Set(code.flatMap { $0.split { !($0.isLetter || $0.isNumber || $0 == "_") } }.map(String.init))
        }

        init?(_ source: SourceTree.File) {
            let parts = source.path.split(separator: "/")
            guard parts.count > 3, parts[2] == "Core" else { return nil }
            self.source = source
            service = parts[1]
            room = parts.count > 4 ? parts[3] : nil
        }
    }

    private static func files() throws -> [File] {
        try SourceTree.files(under: ["Services"], ending: [".swift"]).compactMap(File.init)
    }

    @Test func noFolderIsNamedAfterATechnology() throws {
        let technologies: Set<Substring> = ["Domain", "Events", "HTTP", "Storage", "Migrations", "Models", "Helpers"]
        for file in try Self.files() { #expect(!technologies.contains(file.room ?? ""), "\(file.source.path)") }
    }

    /// `// Other features use A, B.` in a feature's declaration says all of it that others name.
    @Test func featuresMeetByWhatTheyDeclare() throws {
        let files = try Self.files()
        var features = 0
        for file in files where file.isFeature {
            features += 1
            let own = Set(files.filter { $0.service == file.service && $0.room == file.room }.flatMap(\.types))
            let others = files.filter { $0.service == file.service && $0.room != nil && $0.room != file.room }
            let used = own.intersection(others.flatMap(\.words))
            let header = file.source.text.firstMatch(of: /\n\/\/ Other features use ((?:[\w, ]|\n\/\/ )+)\./)
            let declared = header?.1.split(whereSeparator: { !$0.isLetter }).map(String.init) ?? []
            #expect(Set(declared) == used, "\(file.source.path): \(Set(declared).symmetricDifference(used))")
        }
        #expect(features >= 12)
    }

    @Test func everyFeatureIsListedByItsService() throws {
        let files = try Self.files()
        for file in files {
            guard let match = file.source.text.firstMatch(of: /struct (\w+): Feature \{/) else { continue }
            let root = try #require(files.first { $0.name == "\(file.service)Service" })
            #expect(root.source.text.contains("\(match.1)("), "\(file.source.path)")
            #expect(file.room == match.1 && file.name == match.1, "\(file.source.path)")
            #expect(file.source.lines.count <= 110, "\(file.source.path) is more than a screen")
        }
    }
}
