// The web client's texts and page against the project. That they work, EndToEnd's BrowserTests prove.
import Foundation
import TestSupport
import Testing

@Suite struct WebTests {
    /// The texts of a language, by their keys.
    private func texts(_ tag: String) throws -> [String: String] {
        try JSONDecoder().decode(
            [String: String].self,
            from: Data(contentsOf: Repository.root.appending(path: "Web/Texts/\(tag).json")))
    }

    private func languages() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: Repository.root.appending(path: "Web/Texts").path)
            .filter { $0.hasSuffix(".json") }.map { String($0.dropLast(5)) }.sorted()
    }

    /// The names that a pattern of MessageFormat fills in, those within the texts of its cases included.
    private func arguments(_ pattern: String) -> Set<String> {
        var rest = pattern[...]
        return Self.message(&rest)
    }

    /// Reads a text up to the brace that ends it.
    private static func message(_ rest: inout Substring) -> Set<String> {
        var names: Set<String> = []
        while let next = rest.first, next != "}" {
            rest.removeFirst()
            if next == "{" { names.formUnion(argument(&rest)) }
        }
        return names
    }

    /// Reads `name}`, `name, kind, style}` or `name, plural, case {text} …}`.
    private static func argument(_ rest: inout Substring) -> Set<String> {
        let head = rest.prefix { $0 != "}" && $0 != "{" }
        rest = rest[head.endIndex...]
        let words = head.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
        var names: Set<String> = [words.first ?? ""]
        while rest.first == "{" {
            rest.removeFirst()
            names.formUnion(message(&rest))
            rest = rest.dropFirst().drop { $0 != "}" && $0 != "{" }
        }
        rest = rest.dropFirst()
        return names
    }

    @Test func everyLanguageHasEveryTextWithItsArguments() throws {
        let english = try texts("en")
        #expect(english.count > 100)
        #expect(
            arguments("{n, plural, =0 {no {what}} other {# of {all}}} by {who}, {at, date}") == [
                "n", "what", "all", "who", "at",
            ])
        let languages = try languages()
        #expect(languages.contains("zh") && languages.count >= 2)
        for tag in languages {
            let texts = try texts(tag)
            #expect(Set(texts.keys).symmetricDifference(english.keys) == [], "\(tag)")
            for (key, text) in texts {
                #expect(!text.trimmingCharacters(in: .whitespaces).isEmpty, "\(tag): \(key)")
                #expect(arguments(text) == arguments(english[key] ?? ""), "\(tag): \(key)")
            }
        }
    }

    /// What nobody says is to be translated by nobody.
    @Test func everyTextIsSaidSomewhere() throws {
        let folder = Repository.root.appending(path: "Web")
        let files = FileManager.default.enumerator(atPath: folder.path)?.compactMap { $0 as? String } ?? []
        let code = try files.filter { $0.hasSuffix(".ts") || $0.hasSuffix(".tsx") }.map {
            try String(contentsOf: folder.appending(path: $0), encoding: .utf8)
        }.joined(separator: "\n")
        for key in try texts("en").keys { #expect(code.contains("\"\(key)\""), "\(key)") }
    }

    /// Text of others is text: nothing in the client makes markup of a string.
    @Test func nothingMakesMarkupOfText() throws {
        let folder = Repository.root.appending(path: "Web")
        let files = FileManager.default.enumerator(atPath: folder.path)?.compactMap { $0 as? String } ?? []
        let sources = files.filter { $0.hasSuffix(".ts") || $0.hasSuffix(".tsx") }
        #expect(sources.count > 20)
        for file in sources {
            let text = try String(contentsOf: folder.appending(path: file), encoding: .utf8)
            for word in ["dangerouslySetInnerHTML", "innerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                #expect(!text.contains(word), "Web/\(file): \(word)")
            }
        }
    }

    /// The gateway of the machine and the pod of Kubernetes serve it by the same settings.
    @Test func oneFileSaysHowItIsServed() throws {
        #expect(try Repository.text("deploy/nginx/gateway.conf").contains("include @SITE_SETTINGS@;"))
        #expect(try Repository.text("deploy/nginx/web.conf").contains("include /web/site.conf;"))
        #expect(try Repository.text("Dockerfile").contains("deploy/nginx/web.conf deploy/nginx/site.conf"))
    }
}
