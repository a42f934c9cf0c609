// Finds the route of a path: a trie over path segments, built once.

struct Router: Sendable {
    enum Match: Equatable {
        /// Index of the route, and the values of its parameters in their order in the pattern.
        case route(Int, [String])
        /// The path exists, the method does not: what `Allow` says.
        case otherMethods(String)
        case notFound
        /// The path is not one: a broken escape, a dot segment, a slash in disguise.
        case invalid
    }

    private struct Node: Sendable {
        var literals: [(text: [UInt8], node: Int)] = []
        var parameter: Int?
        /// Route indices by method; empty where no pattern ends.
        var routes: [(method: HTTPMethod, route: Int)] = []
        var allow = ""
    }

    /// A path of more segments than this is not found.
    static let segmentsMax = 32

    private var nodes: [Node] = [Node()]
    /// Each route's parameter names, in order.
    let parameterNames: [[String]]

    init(_ routes: [Route]) throws(HTTPError) {
        var names: [[String]] = []
        var nodes = [Node()]
        for (index, route) in routes.enumerated() {
            var node = 0
            var own: [String] = []
            guard route.pattern.utf8.first == UInt8(ascii: "/") else {
                throw .invalidRoute("\(route.pattern) does not start with a slash")
            }
            let segments = route.pattern.utf8.dropFirst().split(
                separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
            guard segments.count <= Self.segmentsMax else {
                throw .invalidRoute("\(route.pattern) has more than \(Self.segmentsMax) segments")
            }
            for segment in segments where !(segments.count == 1 && segment.isEmpty) {
                let text = Array(segment)
                if text.first == UInt8(ascii: "{"), text.last == UInt8(ascii: "}"), text.count > 2 {
                    let name = String(decoding: text.dropFirst().dropLast(), as: UTF8.self)
                    guard !own.contains(name) else { throw .invalidRoute("\(route.pattern) names \(name) twice") }
                    own.append(name)
                    if let next = nodes[node].parameter {
                        node = next
                    } else {
                        nodes.append(Node())
                        nodes[node].parameter = nodes.count - 1
                        node = nodes.count - 1
                    }
                } else {
                    let plain = text.allSatisfy { $0 > 0x20 && $0 < 0x7F && !"{}%?#".utf8.contains($0) }
                    guard !text.isEmpty, plain else {
                        throw .invalidRoute("\(route.pattern) has a segment that is neither plain text nor {name}")
                    }
                    if let next = nodes[node].literals.first(where: { $0.text == text }) {
                        node = next.node
                    } else {
                        nodes.append(Node())
                        nodes[node].literals.append((text, nodes.count - 1))
                        node = nodes.count - 1
                    }
                }
            }
            guard !nodes[node].routes.contains(where: { $0.method == route.method }) else {
                throw .invalidRoute("two routes for \(route.method.rawValue) \(route.pattern)")
            }
            nodes[node].routes.append((route.method, index))
            names.append(own)
        }
        for index in nodes.indices {
            var methods = Set(nodes[index].routes.map(\.method))
            if methods.contains(.get) { methods.insert(.head) }
            methods.insert(.options)
            nodes[index].allow = HTTPMethod.allCases.filter(methods.contains).map(\.rawValue).joined(separator: ", ")
        }
        self.nodes = nodes
        parameterNames = names
    }

    /// - Parameters:
    ///   - method: nil for one that is not known.
    ///   - path: from its leading slash on, still encoded.
    func match(_ method: HTTPMethod?, path: ArraySlice<UInt8>) -> Match {
        var segments: [ArraySlice<UInt8>] = []
        if path.count > 1 {
            segments = path.dropFirst().split(
                separator: UInt8(ascii: "/"), maxSplits: Self.segmentsMax, omittingEmptySubsequences: false)
            guard segments.count <= Self.segmentsMax else { return .notFound }
        }
        var parameters: [String] = []
        for (index, segment) in segments.enumerated() where Self.needsDecoding(segment) {
            guard let text = RequestTarget.segment(segment) else { return .invalid }
            segments[index] = ArraySlice(text.utf8)
        }
        guard let node = find(segments[...], from: 0, &parameters) else { return .notFound }
        let routes = nodes[node].routes
        if let method {
            for route in routes where route.method == method { return .route(route.route, parameters) }
            if method == .head {
                for route in routes where route.method == .get { return .route(route.route, parameters) }
            }
        }
        return .otherMethods(nodes[node].allow)
    }

    /// True for what is not at once seen to stand for itself.
    private static func needsDecoding(_ segment: ArraySlice<UInt8>) -> Bool {
        segment.first == UInt8(ascii: ".") || segment.contains(UInt8(ascii: "%"))
    }

    /// The node at which a pattern ends; a literal first, then a parameter. Visits no node of the trie twice.
    private func find(_ segments: ArraySlice<ArraySlice<UInt8>>, from node: Int, _ parameters: inout [String]) -> Int? {
        guard let segment = segments.first else { return nodes[node].routes.isEmpty ? nil : node }
        for literal in nodes[node].literals where literal.text.elementsEqual(segment) {
            if let found = find(segments.dropFirst(), from: literal.node, &parameters) { return found }
        }
        guard let next = nodes[node].parameter, !segment.isEmpty else { return nil }
        parameters.append(String(decoding: segment, as: UTF8.self))
        if let found = find(segments.dropFirst(), from: next, &parameters) { return found }
        parameters.removeLast()
        return nil
    }
}
