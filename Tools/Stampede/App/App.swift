// The executable of operators and publishers: `stampede --help`.
import Foundation
import StampedeCore

@main
struct App {
    static func main() async {
        let code = await StampedeTool.run(
            Array(CommandLine.arguments.dropFirst()), environment: ProcessInfo.processInfo.environment,
            console: .standard)
        exit(code.rawValue)
    }
}
