// Every operation of every service says what a client needs to know of it.
import Foundation
import TestSupport
import Testing

@Suite struct OpenAPITests {
    private static let names = ["catalog", "messaging", "payment", "reservation"]

    private struct Operation {
        let document: OpenAPIDocument
        let method: String
        let path: String
        let tree: DocumentTree
        var name: String { "\(method) \(path)" }

        var id: String { tree["operationId"]?.string ?? "" }
        var needsToken: Bool { tree["security"] == nil }
        var body: DocumentTree? { tree["requestBody"].map(document.resolved) }
        var answers: [(status: String, answer: DocumentTree)] {
            (tree["responses"]?.members ?? [:]).map { ($0, document.resolved($1)) }.sorted { $0.status < $1.status }
        }
        var parameters: [DocumentTree] {
            ((tree["parameters"]?.elements ?? [])
                + (document.tree["paths"]?[path]?["parameters"]?.elements ?? [])).map(document.resolved)
        }

        func has(_ header: String) -> Bool {
            parameters.contains { $0["in"]?.string == "header" && $0["name"]?.string == header }
        }

        /// The examples of a body, each with what is wrong with it.
        func problems(of body: DocumentTree, _ what: String) -> [String] {
            (body["content"]?.members ?? [:]).flatMap { type, content -> [String] in
                guard let schema = content["schema"] else { return ["\(what): has no schema"] }
                let named = content["examples"]?.members.values.map(document.resolved) ?? []
                let examples = named.map { $0["value"] ?? .null }
                if examples.isEmpty { return ["\(what): has no example"] }
                return examples.flatMap { JSONSchema(schema, in: document.tree).problems($0) }.map { "\(what): \($0)" }
            }
        }
    }

    private static func operations(_ name: String) throws -> [Operation] {
        let document = try OpenAPIDocument(service: name)
        return try document.operations.sorted().map { operation in
            let parts = operation.split(separator: " ").map(String.init)
            return Operation(
                document: document, method: parts[0], path: parts[1],
                tree: try #require(document.operation(parts[0], parts[1])))
        }
    }

    @Test(arguments: names + ["stampede"]) func theDocumentIsSound(name: String) throws {
        let document = try OpenAPIDocument(service: name)
        #expect(document.problems == [])
        // What nothing refers to is said to nobody.
        let used = Set(document.tree.references)
        for (kind, members) in document.tree["components"]?.members ?? [:] where kind != "securitySchemes" {
            for member in members.members.keys {
                #expect(used.contains("#/components/\(kind)/\(member)"), "\(name): \(kind)/\(member) is not used")
            }
        }
    }

    @Test(arguments: names) func everyOperationIsDescribedWithAnExample(name: String) throws {
        for operation in try Self.operations(name) {
            let description = operation.tree["description"]?.string ?? ""
            #expect(description.count > 20, "\(operation.name): has no description")
            var problems = operation.body.map { operation.problems(of: $0, "\(operation.name): the request") } ?? []
            for (status, answer) in operation.answers where status.hasPrefix("2") {
                problems += operation.problems(of: answer, "\(operation.name): \(status)")
            }
            #expect(problems == [])
            for parameter in operation.parameters where parameter["in"]?.string != "query" {
                #expect(parameter["example"] != nil, "\(operation.name): \(parameter["name"]?.string ?? "")")
            }
            for parameter in operation.parameters {
                #expect(parameter["description"] != nil, "\(operation.name): \(parameter["name"]?.string ?? "")")
            }
        }
    }

    @Test func operationsAreCalledAsAClientWouldCallThem() throws {
        var ids: Set<String> = []
        for operation in try Self.names.flatMap(Self.operations) {
            let id = operation.id
            #expect(id.wholeMatch(of: /[a-z]+([A-Z][a-z]+)+/) != nil, "\(operation.name): \(id)")
            #expect(ids.insert(id).inserted, "\(id) is there twice")
            let reads = ["read", "list", "follow"].contains { id.hasPrefix($0) }
            #expect((operation.method == "GET") == reads || id == "followBrand", "\(operation.name): \(id)")
            let schema = operation.answers.first { $0.status == "200" }?.answer["content"]?["application/json"]?[
                "schema"]
            let isList = schema.map(operation.document.resolved)?["properties"]?["items"] != nil
            if operation.method == "GET" { #expect(isList == id.hasPrefix("list"), "\(operation.name): \(id)") }
        }
    }

    @Test(arguments: names) func everyOperationSaysHowItRefuses(name: String) throws {
        for operation in try Self.operations(name) {
            let statuses = Set(operation.answers.map(\.status))
            // A path or a header field that cannot be read, a body where none is, the gateway's limit, a service at rest.
            var expected: Set<String> = ["400", "413", "429", "503"]
            if operation.needsToken { expected.insert("401") }
            if operation.path.contains("{") { expected.insert("404") }
            if operation.body != nil { expected.insert("415") }
            if operation.has("If-Match") { expected.insert("412") }
            if operation.has("Idempotency-Key") { expected.formUnion(["409", "422"]) }
            let isRead =
                operation.method == "GET"
                && operation.answers.contains { $0.answer["content"]?["application/json"] != nil }
            if isRead { expected.insert("304") }
            #expect(expected.subtracting(statuses) == [], "\(operation.name)")
            #expect(operation.has("If-None-Match") || !isRead, "\(operation.name)")
            #expect(operation.body == nil || operation.body?["x-bytes-max"]?.integer != nil, "\(operation.name)")

            for (status, answer) in operation.answers {
                var needed: Set<String> = ["X-Request-Id"]
                if ["429", "503"].contains(status) { needed.insert("Retry-After") }
                if status.hasPrefix("2") { needed.insert("Cache-Control") }
                if isRead, ["200", "304"].contains(status) { needed.insert("ETag") }
                let headers = Set(answer["headers"]?.members.keys.map { $0 } ?? [])
                #expect(needed.subtracting(headers) == [], "\(operation.name) \(status)")
                if Int(status) ?? 0 >= 400 {
                    let types = answer["content"]?.members.keys.sorted()
                    #expect(types == ["application/problem+json"], "\(operation.name) \(status)")
                }
            }
        }
    }

    /// Sent again, a command makes nothing twice: by its key, by an ID that its client chose, or by what it is.
    @Test func whatMakesSomethingCanBeSentAgain() throws {
        // One conversation for two accounts; one more session is no harm, and a kept answer would hold its tokens.
        let byNature: Set<String> = ["openConversation", "signIn", "signInAsOperator"]
        for operation in try Self.names.flatMap(Self.operations) where operation.method == "POST" {
            guard operation.answers.contains(where: { ["201", "202"].contains($0.status) }) else { continue }
            let schema = operation.body?["content"]?["application/json"]?["schema"].map(operation.document.resolved)
            let members = schema?["required"]?.elements.compactMap(\.string) ?? []
            let hasClientID = members.contains { $0.hasPrefix("client") && $0.hasSuffix("Id") }
            #expect(
                operation.has("Idempotency-Key") || hasClientID || byNature.contains(operation.id)
                    || operation.path.hasSuffix("/cancellation"), "\(operation.name)")
        }
    }

    /// An edit of the whole takes back what others edited meanwhile, unless it says what it was made of.
    @Test func whatIsEditedHasAPrecondition() throws {
        for operation in try Self.names.flatMap(Self.operations)
        where operation.method == "PUT" && operation.body != nil {
            // A password names the one that it replaces; how far somebody has read only rises.
            let others = ["changePassword", "markConversation"]
            #expect(operation.has("If-Match") || others.contains(operation.id), "\(operation.name)")
        }
    }

    @Test func theOneDocumentHasAllOfTheFour() throws {
        let four = try Self.names.flatMap { try Self.operations($0).map { "\($0.name) \($0.id)" } }
        #expect(try Self.operations("stampede").map { "\($0.name) \($0.id)" } == four.sorted())
    }
}
