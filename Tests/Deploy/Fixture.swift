// What the documents of the deployment are held against.
import Foundation
import TestSupport

@testable import StampedeCore

enum Documented {
    /// Names of settings, `…_FILE` for each secret among them, by the section of docs/configuration.md.
    static func settings() throws -> [String: Set<String>] {
        var settings: [String: Set<String>] = [:]
        var section = ""
        for line in try Repository.text("docs/configuration.md").split(separator: "\n") {
            if line.hasPrefix("## ") { section = String(line.dropFirst(3)) }
            guard let name = line.firstMatch(of: /^\| `([A-Z_]+)` \|/)?.1 else { continue }
            settings[section, default: []].insert(String(name))
            if line.contains("(secret)") { settings[section, default: []].insert("\(name)_FILE") }
        }
        return settings
    }

    /// Whether a service reads a variable of that name.
    static func knows(_ service: Settings.Service, _ name: String, _ settings: [String: Set<String>]) -> Bool {
        name.hasPrefix("STAMPEDE_KAFKA_") || settings["Every service", default: []].contains(name)
            || settings.contains { section, names in
                section.components(separatedBy: ", ").contains(service.rawValue) && names.contains(name)
            }
    }

    /// The prefixes that the gateway forwards, and to whom.
    static func routes() throws -> [String: String] {
        var routes: [String: String] = [:]
        for match in try Repository.text("deploy/nginx/gateway.conf").matches(
            of: /location (= )?(\/v1[^ ]*) \{[^}]*?proxy_pass http:\/\/([a-z]+)(_events)?;/)
        {
            // What only ends another with a slash belongs to it.
            let path = match.2.hasSuffix("/") ? match.2.dropLast() : match.2
            routes[String(path)] = String(match.3)
        }
        for match in try Repository.text("deploy/nginx/site.conf").matches(of: /\nlocation (= )?(\/[^ ]*) \{/) {
            let path = match.2.count > 1 && match.2.hasSuffix("/") ? match.2.dropLast() : match.2
            routes[String(path)] = "web"
        }
        return routes
    }
}

extension DocumentTree {
    /// A member of a member …: `tree.at("spec", "template")`.
    func at(_ names: String...) -> DocumentTree? { names.reduce(self as Self?) { $0?[$1] } }

    var strings: [String] { elements.compactMap(\.string) }
}
