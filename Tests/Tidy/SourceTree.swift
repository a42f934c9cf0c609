// The repository's own files, for the tests of its style.
import Foundation

enum SourceTree {
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().path

    struct File: Sendable {
        /// From the repository's root: `Shared/JSON/JSONWriter.swift`.
        let path: String
        let text: String

        var lines: [Substring] { text.split(separator: "\n", omittingEmptySubsequences: false) }
        var isTest: Bool { path.hasPrefix("Tests/") }
    }

    /// Text files that belong to the repository, by where they are and how their names end.
    static func files(under folders: [String], ending: [String]) throws -> [File] {
        var files: [File] = []
        for folder in folders {
            guard let paths = FileManager.default.enumerator(atPath: "\(root)/\(folder)") else { continue }
            for case let path as String in paths where ending.contains(where: path.hasSuffix) {
                let whole = "\(folder)/\(path)"
                files.append(File(path: whole, text: try String(contentsOfFile: "\(root)/\(whole)", encoding: .utf8)))
            }
        }
        return files.sorted { $0.path < $1.path }
    }

    static func text(_ path: String) throws -> String { try String(contentsOfFile: "\(root)/\(path)", encoding: .utf8) }

    static let swiftFolders = ["Services", "Shared", "Tools", "Tests"]
}
