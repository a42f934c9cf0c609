// Puts the files `Texts/<language>.json` of a service into its program: adding a file adds a language.
import Foundation
import PackagePlugin

/// Makes `TemplateTexts.all` of the files in the target's `Templates/Texts`. SwiftPM's own `embedInCode` gives each file a name
/// in Swift, and no list of them.
@main
struct EmbedTexts: BuildToolPlugin {
    func createBuildCommands(context: PluginContext, target: any Target) throws -> [Command] {
        let folder = target.directoryURL.appending(path: "Templates/Texts")
        let files = try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
            .filter { $0.pathExtension == "json" }.sorted { $0.path < $1.path }
        let output = context.pluginWorkDirectoryURL.appending(path: "TemplateTexts.swift")
        return [
            .buildCommand(
                displayName: "Embedding texts in \(files.count) languages", executable: URL(filePath: "/bin/sh"),
                arguments: ["-euc", Self.script, "sh", output.path] + files.map(\.path), inputFiles: files,
                outputFiles: [output])
        ]
    }

    private static let script = ####"""
        output=$1
        shift
        {
            echo 'enum TemplateTexts {'
            echo '    static let all: [(tag: String, json: String)] = ['
            for file; do
                printf '("%s", ###"""\n' "$(basename "$file" .json)"
                cat "$file"
                printf '\n"""###),\n'
            done
            echo '    ]'
            echo '}'
        } >"$output"
        """####
}
