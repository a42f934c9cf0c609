// Who may know whom.
import Foundation
import Testing

@Suite struct LayerTests {
    /// What a module may import besides the system's, by where its files are. The first that matches counts.
    private static let layers: [(prefix: String, modules: Set<String>)] = [
        ("Shared/Runtime/", ["CLinux"]),
        ("Shared/JSON/", ["CJSON"]),
        ("Shared/Observability/", []),
        ("Shared/ICU/", ["CICU"]),
        ("Shared/Models/", ["ICU", "JSON"]),
        ("Shared/Kafka/", ["CRdKafka", "Observability", "Runtime"]),
        ("Shared/Postgres/", ["CLibPQ", "Observability", "Models", "Runtime"]),
        ("Shared/HTTP/", ["CMicroHTTPD", "CCurl", "Observability", "JSON", "Runtime"]),
        ("Shared/Security/", ["CSodium", "CCJose", "JSON", "Models"]),
        (
            "Shared/ServiceKit/",
            ["CMalloc", "HTTP", "JSON", "Kafka", "Postgres", "Security", "Observability", "Models", "Runtime"]
        ),
        (
            "Shared/EventPipeline/",
            ["ServiceKit", "Security", "Kafka", "Postgres", "Models", "JSON", "Observability", "HTTP", "Runtime"]
        ),
    ]
    private static let system: Set<String> = ["Foundation", "Dispatch", "Synchronization", "Glibc", "Testing"]
    private static let shared: Set<String> = [
        "JSON", "Observability", "Models", "Kafka", "Postgres", "HTTP", "Security", "ServiceKit", "EventPipeline",
        "Runtime", "ICU",
    ]

    private func imports(_ file: SourceTree.File) -> [String] {
        file.lines.compactMap { line in
            let words = line.split(separator: " ").drop {
                ["@testable", "private", "internal", "package", "public"].contains($0)
            }
            guard words.first == "import", let name = words.last else { return nil }
            return String(name)
        }
    }

    @Test func sharedModulesImportOnlyWhatIsBelowThem() throws {
        for file in try SourceTree.files(under: ["Shared"], ending: [".swift"]) {
            guard let layer = Self.layers.first(where: { file.path.hasPrefix($0.prefix) }) else {
                Issue.record("\(file.path) is in no layer")
                continue
            }
            for module in imports(file) where !Self.system.contains(module) {
                #expect(layer.modules.contains(module), "\(file.path) imports \(module)")
            }
        }
    }

    @Test func servicesImportSharedModulesAndNoOtherService() throws {
        for file in try SourceTree.files(under: ["Services"], ending: [".swift"]) {
            let parts = file.path.split(separator: "/")
            let own = file.path.contains("/App/") ? ["\(parts[1])Core"] : []
            for module in imports(file) where !Self.system.contains(module) {
                #expect(Self.shared.contains(module) || own.contains(module), "\(file.path) imports \(module)")
            }
        }
    }

    /// What decides, and what is said of it, with the pure modules that it may import besides Models: a folder, or a file of a
    /// folder that is a feature's.
    private static let pure: [(path: String, modules: Set<String>)] = [
        ("Rules.swift", []),
        ("Services/Notification/Core/Templates/", ["ICU", "JSON"]),
        ("Services/Notification/Core/Notifications/NotifiableEvent.swift", []),
        ("Services/Notification/Core/Notifications/NotificationText.swift", ["ICU"]),
        ("Services/Notification/Core/Notifications/DeferredNotifications.swift", []),
        ("Services/Notification/Core/Products/ProductNames.swift", []),
    ]

    @Test(arguments: pure) func whatDecidesIsPure(path: String, modules: Set<String>) throws {
        let files = try SourceTree.files(under: ["Services"], ending: [".swift"]).filter { $0.path.contains(path) }
        #expect(!files.isEmpty)
        for file in files {
            // Foundation for its JSON coders, which are pure; what else it has is forbidden by name.
            for module in imports(file) {
                #expect(modules.union(["Models", "Foundation"]).contains(module), "\(file.path) imports \(module)")
            }
            for forbidden in [
                "FileManager", "FileHandle", "ProcessInfo", "UUID()", "Thread", "DispatchQueue", "Date()", ".now",
                "random(", "SystemRandomNumberGenerator", "Task {", "await ",
            ] {
                for line in file.lines where !line.drop(while: { $0 == " " }).hasPrefix("//") {
                    #expect(!line.contains(forbidden), "\(file.path): \(line)")
                }
            }
        }
    }

    /// What is refused is a case of the domain; the status and the words that it is answered with stand in `…Routes.swift`.
    @Test func onlyRoutesKnowHTTP() throws {
        let judged = try SourceTree.files(under: ["Services"], ending: [".swift"])
            .filter { !$0.path.hasSuffix("Routes.swift") }
        for file in judged {
            // What is live is a stream of HTTP.
            let isLive = file.path.hasPrefix("Services/Messaging/Core/Live/")
            #expect(isLive || !imports(file).contains("HTTP"), "\(file.path)")
            for line in file.lines {
                #expect(!line.contains(/\b(Problem|FieldProblem|ProblemConvertible)\b/), "\(file.path): \(line)")
            }
        }
    }

    @Test func unsafePointersStayInTheModulesThatFaceC() throws {
        let allowed = [
            "Shared/Kafka/", "Shared/Postgres/", "Shared/HTTP/", "Shared/Security/", "Shared/JSON/", "Shared/ICU/",
            "Shared/Runtime/EventLoop.swift",
        ]
        let files = try SourceTree.files(under: ["Services", "Shared", "Tools"], ending: [".swift"])
        for file in files where !allowed.contains(where: file.path.hasPrefix) {
            for line in file.lines {
                for word in [
                    "UnsafePointer", "UnsafeMutable", "UnsafeRaw", "UnsafeBuffer", "withUnsafe", "OpaquePointer",
                    "Unmanaged",
                ] {
                    #expect(!line.contains(word), "\(file.path): \(line)")
                }
            }
        }
    }

    /// What is written or compared comes from the clock that the service was given, so that tests can turn it and every
    /// rule sees one time. What is waited for is measured by `ContinuousClock`, which nobody sets.
    @Test func onlyTheContextReadsTheSystemsTime() throws {
        let clocks: Set<String> = ["ServiceContext", "ServiceRunner"]
        for file in try SourceTree.files(under: ["Services", "Shared"], ending: [".swift"])
        where !clocks.contains(where: { file.path == "Shared/ServiceKit/\($0).swift" }) {
            for line in file.lines {
                for forbidden in ["Timestamp.now()", " .now()", "(.now()", "Date()", "Date.now"] {
                    // Dispatch's own clock is monotonic.
                    let rest = line.replacing("deadline: .now()", with: "")
                    #expect(!rest.contains(forbidden), "\(file.path): \(line)")
                }
            }
        }
    }
}
