// How files read: their heads, their words, and that the documents say what is so.
import Foundation
import Testing

@Suite struct StyleTests {
    /// Words that have no place in what is finished. Put together here, so that this file does not hold them.
    private static let unfinished = ["TO" + "DO", "FIX" + "ME", "X" + "XX", "not imple" + "mented", "HA" + "CK"]

    private func textFiles() throws -> [SourceTree.File] {
        try SourceTree.files(
            under: SourceTree.swiftFolders + ["scripts", "deploy", "docs"],
            ending: [".swift", ".sh", ".md", ".yaml", ".conf", ".sql", ".h", ".cpp", ".modulemap", ".properties"])
    }

    @Test func nothingIsLeftUnfinished() throws {
        for file in try textFiles() {
            for word in Self.unfinished {
                #expect(!file.lines.contains { $0.contains(word) }, "\(file.path) says \(word)")
            }
        }
    }

    @Test func inputNeverEndsTheProgram() throws {
        let forbidden = ["fatal" + "Error(", "try" + "! ", "as" + "! "]
        let files = try SourceTree.files(under: ["Services", "Shared", "Tools"], ending: [".swift"])
        for file in files {
            for line in file.lines {
                for word in forbidden { #expect(!line.contains(word), "\(file.path): \(line)") }
            }
        }
    }

    /// What the package alone uses is `package`. The shared modules' surface is `public`, since the optimiser specialises
    /// across modules what is public and nothing else: as `package` a decision costs 1.4 times the processor.
    @Test func onlySharedModulesArePublic() throws {
        for file in try SourceTree.files(under: ["Services", "Tools", "Tests"], ending: [".swift"]) {
            for line in file.lines where line.contains(/^ *(?:@\w+(?:\([^)]*\))? )*(?:\w+ )*public (?:\w+ )*\w+/) {
                #expect(line.contains("//") || line.contains("\""), "\(file.path): \(line)")
            }
        }
    }

    /// What the compiler does not check: the comment on the lines right before names it and says why it holds.
    @Test func whatIsUncheckedIsExplained() throws {
        var count = 0
        for file in try SourceTree.files(under: ["Services", "Shared", "Tools", "Tests"], ending: [".swift"]) {
            if file.path.contains("Tests/Tidy/") { continue }
            for (number, line) in file.lines.enumerated() {
                let code = line.firstRange(of: "//").map { line[..<$0.lowerBound] } ?? line
                for word in ["@unchecked Sendable", "nonisolated(unsafe)"] where code.contains(word) {
                    count += 1
                    let above = file.lines[..<number].reversed().prefix { $0.drop { $0 == " " }.hasPrefix("//") }
                    #expect(above.contains { $0.contains("`\(word)`: ") }, "\(file.path):\(number + 1)")
                }
            }
        }
        #expect(count >= 10)
    }

    /// `deinit` runs for an object whose `init` throws after every property has its value. What both release is released
    /// twice, and the second time it may be somebody else's: a descriptor's number is given away again at once.
    @Test func noInitialiserReleasesWhatDeinitReleases() throws {
        #expect(releasedTwice("init() throws {\n    close(socket)\n}\ndeinit { close(socket) }") == ["close(socket)"])
        #expect(releasedTwice("init() throws {\n    close(made)\n}\ndeinit {\n    close(socket)\n}") == [])
        for file in try SourceTree.files(under: SourceTree.swiftFolders, ending: [".swift"]) {
            #expect(releasedTwice(file.text) == [], "\(file.path)")
        }
    }

    private func releasedTwice(_ text: String) -> Set<String> {
        var released = (byInit: Set<String>(), byDeinit: Set<String>())
        // The bodies: from the head to the first line that is indented no deeper than it.
        for head in text.matches(of: /(?m)^( *)(?:[a-z@]+ )*(init\(|deinit \{).*$/) {
            let rest = text[head.range.upperBound...]
            let end = "\n\(head.1)}"
            let isOneLine = head.0.hasSuffix("}")
            let body =
                isOneLine
                ? text[head.range]
                : text[head.range.lowerBound..<(rest.firstRange(of: end)?.lowerBound ?? rest.endIndex)]
            let calls = body.matches(of: /\w*(?:close|free|destroy|release|finish|deallocate)\w*\(\w+\)/.ignoresCase())
            for call in calls.map({ String($0.0) }) {
                if head.2 == "deinit {" { released.byDeinit.insert(call) } else { released.byInit.insert(call) }
            }
        }
        return released.byInit.intersection(released.byDeinit)
    }

    @Test func everySwiftFileSaysFirstWhatItIsFor() throws {
        for file in try SourceTree.files(under: ["Services", "Shared", "Tools"], ending: [".swift"]) {
            // An executable's few lines, and files whose one type says it, begin with that type's own comment.
            let head = file.lines.prefix(12).joined(separator: "\n")
            #expect(head.contains("//"), "\(file.path) has no comment at its head")
        }
    }

    @Test func theFormatterFindsNothing() async throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments =
            ["swift", "format", "lint", "--strict", "--recursive", "--parallel"] + SourceTree.swiftFolders
        process.currentDirectoryURL = URL(fileURLWithPath: SourceTree.root)
        let output = Pipe()
        process.standardError = output
        process.standardOutput = FileHandle.nullDevice
        let text = try await withCheckedThrowingContinuation { continuation in
            process.terminationHandler = { process in
                let data = (try? output.fileHandleForReading.readToEnd()) ?? nil
                let text = String(decoding: data ?? Data(), as: UTF8.self)
                continuation.resume(returning: process.terminationStatus == 0 ? "" : text)
            }
            do { try process.run() } catch { continuation.resume(throwing: error) }
        }
        #expect(text.isEmpty, "\(text.prefix(4000))")
    }
}
