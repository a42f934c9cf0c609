// A service's OpenAPI document, to be held against its routes and its answers.
//
//     let document = try OpenAPIDocument(service: "catalog")
//     #expect(document.problems(of: routes) == [])
//     #expect(document.problems(method: "GET", path: "/v1/products/{id}", status: 200, body: bytes) == [])
import HTTP
import ServiceKit

package struct OpenAPIDocument: Sendable {
    package let tree: DocumentTree

    private static let methods: Set<String> = ["get", "put", "post", "delete", "options", "head", "patch", "trace"]

    /// Reads `docs/openapi/<service>.yaml`.
    package init(service: String) throws { self.init(try Repository.yaml("docs/openapi/\(service).yaml")) }

    package init(_ tree: DocumentTree) { self.tree = tree }

    /// `POST /v1/products`, for every operation.
    package var operations: Set<String> {
        Set(
            (tree["paths"]?.members ?? [:]).flatMap { path, item in
                item.members.keys.filter(Self.methods.contains).map { "\($0.uppercased()) \(path)" }
            })
    }

    /// The statuses that an operation documents.
    package func statuses(method: String, path: String) -> Set<String> {
        Set((operation(method, path)?["responses"]?.members ?? [:]).keys)
    }

    /// How many bytes a request's body may have, for every operation that has one.
    package var bodyLimits: [String: Int] {
        var limits: [String: Int] = [:]
        for (path, item) in tree["paths"]?.members ?? [:] {
            for (method, operation) in item.members where Self.methods.contains(method) {
                guard let body = operation["requestBody"].map(resolved) else { continue }
                limits["\(method.uppercased()) \(path)"] = body["x-bytes-max"]?.integer.map { Int($0) } ?? 0
            }
        }
        return limits
    }

    /// What is wrong with the document itself: another version, references to nothing, path parameters that are not
    /// described, operations without a summary or answers.
    package var problems: [String] {
        var found: [String] = []
        if tree["openapi"]?.string?.hasPrefix("3.1.") != true { found.append("openapi: is not 3.1") }
        for member in ["title", "version"] where tree["info"]?[member]?.string == nil {
            found.append("info: lacks \(member)")
        }
        found += tree.references.filter { tree.resolve($0) == nil }.map { "\($0): refers to nothing" }
        var operationIDs: Set<String> = []
        for name in operations.sorted() {
            let parts = name.split(separator: " ")
            let (method, path) = (String(parts[0]), String(parts[1]))
            guard let operation = operation(method, path) else { continue }
            if operation["summary"]?.string == nil { found.append("\(name): lacks a summary") }
            if bodyLimits[name] == 0 { found.append("\(name): does not say how long its body may be") }
            if statuses(method: method, path: path).isEmpty { found.append("\(name): lacks responses") }
            let id = operation["operationId"]?.string ?? ""
            if id.isEmpty || !operationIDs.insert(id).inserted {
                found.append("\(name): lacks an operationId of its own")
            }
            let described = Set(
                ((operation["parameters"]?.elements ?? []) + (tree["paths"]?[path]?["parameters"]?.elements ?? []))
                    .map(resolved).filter { $0["in"]?.string == "path" }.compactMap { $0["name"]?.string })
            let used = Set(path.matches(of: /\{([^}]+)\}/).map { String($0.1) })
            if described != used {
                found.append("\(name): path parameters \(described.sorted()), not \(used.sorted())")
            }
        }
        return found
    }

    /// What is wrong with the routes: one that is not documented, an operation that no route answers, a body that may be
    /// longer or shorter than the document says, a token that is needed or not.
    package func problems(of routes: [Endpoint]) -> [String] {
        let served = Set(routes.map { "\($0.method.rawValue) \($0.pattern)" })
        var found = served.subtracting(operations).sorted().map { "\($0): is not documented" }
        found += operations.subtracting(served).sorted().map { "\($0): is answered by no route" }
        for route in routes {
            let isPublic = operation(route.method.rawValue, route.pattern)?["security"] != nil
            if isPublic != (route.callers == nil) {
                found.append(
                    "\(route.method.rawValue) \(route.pattern): a token is \(isPublic ? "asked for" : "not asked for")")
            }
            guard let body = operation(route.method.rawValue, route.pattern)?["requestBody"].map(resolved) else {
                continue
            }
            let documented = body["x-bytes-max"]?.integer.map(String.init) ?? "nothing"
            if documented != String(route.bodyBytesMax) {
                found.append(
                    "\(route.method.rawValue) \(route.pattern): reads \(route.bodyBytesMax) bytes, not \(documented)")
            }
        }
        return found
    }

    /// What is wrong with an answer: a status or media type that is not documented, a body that does not fit its schema,
    /// a header field that is missing or does not fit. `path` is the pattern, `/v1/products/{id}`.
    package func problems(
        method: String, path: String, status: Int, body: some Sequence<UInt8>, mediaType: String = "application/json",
        headers: HeaderFields? = nil
    ) -> [String] {
        let name = "\(method) \(path) \(status)"
        guard let operation = operation(method, path) else { return ["\(name): is not documented"] }
        guard let answer = operation["responses"]?[String(status)].map(resolved) else {
            return ["\(name): the status is not documented"]
        }
        if let headers {
            let wrong = problems(headers, answer["headers"]?.members ?? [:])
            if !wrong.isEmpty { return wrong.map { "\(name): \($0)" } }
        }
        let bytes = Array(body)
        guard let content = answer["content"] else {
            return bytes.isEmpty ? [] : ["\(name): a body, though none is documented"]
        }
        guard let schema = content[mediaType]?["schema"] else { return ["\(name): \(mediaType) is not documented"] }
        guard let value = try? DocumentTree(json: bytes) else { return ["\(name): the body is not JSON"] }
        return JSONSchema(schema, in: tree).problems(value).map { "\(name): \($0)" }
    }

    /// The same for a request's body, so that a test's own examples are held against the document too.
    package func problems(method: String, path: String, request body: some Sequence<UInt8>) -> [String] {
        guard
            let schema = operation(method, path)?["requestBody"].map(resolved)?["content"]?["application/json"]?[
                "schema"]
        else { return ["\(method) \(path): no request body is documented"] }
        guard let value = try? DocumentTree(json: body) else { return ["\(method) \(path): the body is not JSON"] }
        return JSONSchema(schema, in: tree).problems(value).map { "\(method) \(path): \($0)" }
    }

    private func problems(_ headers: HeaderFields, _ documented: [String: DocumentTree]) -> [String] {
        documented.sorted { $0.key < $1.key }.flatMap { name, reference -> [String] in
            let field = resolved(reference)
            guard let value = headers[name] else {
                return field["required"]?.boolean == true ? ["lacks \(name)"] : []
            }
            guard let schema = field["schema"] else { return ["\(name): has no schema"] }
            let isNumber = schema["type"]?.string == "integer"
            let parsed: DocumentTree = (isNumber ? Int64(value).map(DocumentTree.integer) : nil) ?? .string(value)
            return JSONSchema(schema, in: tree).problems(parsed).map { "\(name): \($0)" }
        }
    }

    package func operation(_ method: String, _ path: String) -> DocumentTree? {
        tree["paths"]?[path]?[method.lowercased()]
    }

    /// What a reference points to, or the value itself.
    package func resolved(_ value: DocumentTree) -> DocumentTree {
        value["$ref"]?.string.flatMap(tree.resolve) ?? value
    }
}
