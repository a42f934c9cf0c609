// The table of settings says what the executables say.
import Foundation
import Testing

@testable import StampedeCore

@Suite struct ConfigurationTests {
    /// The first column of `--help`: the service's settings with their defaults.
    private func settings(of service: Settings.Service) async throws -> [String: String] {
        let file = FileManager.default.temporaryDirectory.appending(path: "stampede-help-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: file) }
        _ = FileManager.default.createFile(atPath: file, contents: nil)
        let output = try #require(FileHandle(forWritingAtPath: file))
        let program = try ChildProgram(
            "\(Stack.root)/.build/debug/\(service.rawValue)", ["--help"], environment: [:], output: output)
        #expect(await program.wait() == 0)
        let help = try String(contentsOfFile: file, encoding: .utf8)
        var settings: [String: String] = [:]
        for match in help.matches(of: /^  ([A-Z_]+(?:<[A-Z]+>)?) +([^ ]+) +[A-Z]/.anchorsMatchLineEndings()) {
            settings[String(match.1)] = match.2 == "-" ? "" : String(match.2)
        }
        return settings
    }

    @Test func everySettingStandsInTheTableWithItsDefault() async throws {
        let document = try String(contentsOfFile: "\(Stack.root)/docs/configuration.md", encoding: .utf8)
        let services = document.prefix(upTo: try #require(document.range(of: "## The scripts")).lowerBound)
        var documented: [String: String] = [:]
        for match in services.matches(of: /^\| `([A-Z_<>]+)` \| (.*?) \|/.anchorsMatchLineEndings()) {
            documented[String(match.1)] = match.2.replacing("`", with: "").trimmingCharacters(in: .whitespaces)
        }
        var known: Set<String> = []
        for service in Settings.Service.allCases {
            let settings = try await settings(of: service)
            #expect(settings.count >= 10)
            known.formUnion(settings.keys)
            // The port is each service's own.
            for (name, value) in settings where name != "STAMPEDE_HTTP_PORT" {
                #expect(documented[name] == value, "\(service.rawValue): \(name)")
            }
        }
        #expect(Set(documented.keys) == known)
    }
}
