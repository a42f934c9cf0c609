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

    @Test func uncheckedSendabilityIsExplained() throws {
        let files = try SourceTree.files(under: ["Services", "Shared", "Tools"], ending: [".swift"])
        for file in files {
            for (number, line) in file.lines.enumerated() where line.contains("@unchecked Sendable") {
                if line.drop(while: { $0 == " " }).hasPrefix("//") { continue }
                // The comment above the declaration, or above the type that it is within a few lines of.
                let above = file.lines[max(0, number - 12)..<number].joined(separator: "\n").lowercased()
                #expect(above.contains("unchecked") || above.contains("sendable"), "\(file.path):\(number + 1)")
            }
        }
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
