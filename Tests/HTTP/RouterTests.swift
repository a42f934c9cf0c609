import TestSupport
// Which route a path finds.
import Testing

@testable import HTTP

@Suite struct RouterTests {
    private func router(_ patterns: String...) throws -> Router {
        try Router(patterns.map { Route(.get, $0) { _ in .empty() } })
    }

    private func match(_ router: Router, _ path: String, _ method: HTTPMethod? = .get) -> Router.Match {
        router.match(method, path: ArraySlice(Array(path.utf8)))
    }

    @Test func aLiteralSegmentIsPreferredToAParameter() throws {
        let router = try router("/v1/orders/{id}", "/v1/orders/mine")
        #expect(match(router, "/v1/orders/mine") == .route(1, []))
        #expect(match(router, "/v1/orders/42") == .route(0, ["42"]))
    }

    @Test func aLiteralThatLeadsNowhereFallsBackToTheParameter() throws {
        let router = try router("/v1/{kind}/{id}/notes", "/v1/orders/mine")
        #expect(match(router, "/v1/orders/mine/notes") == .route(0, ["orders", "mine"]))
    }

    @Test func theRootIsAPathOfItsOwn() throws {
        let router = try router("/", "/{name}")
        #expect(match(router, "/") == .route(0, []))
        #expect(match(router, "/x") == .route(1, ["x"]))
    }

    @Test(arguments: ["/v1/orders/", "/v1//orders", "//v1/orders", "/v1/orders/x/y", "/v1", "/v1/orders/{id}/"])
    func aPathThatDiffersByASegmentIsNotFound(path: String) throws {
        #expect(match(try router("/v1/orders", "/v1/orders/{id}"), path) == .notFound)
    }

    @Test func parametersAreDecodedAndLiteralsMatchDecoded() throws {
        let router = try router("/v1/names/{name}")
        #expect(match(router, "/v1/names/%E5%B0%8F%20%2B") == .route(0, ["小 +"]))
        #expect(match(router, "/v1/n%61mes/a+b") == .route(0, ["a+b"]))
    }

    @Test(arguments: [
        "/files/..", "/files/.", "/files/%2e%2e", "/files/.%2E", "/files/%2E", "/files/a%2Fb", "/files/..%2f..%2fetc",
        "/files/a%5Cb", "/files/%00", "/files/a%0d%0ab", "/files/%", "/files/%4", "/files/%zz", "/files/%C0%AF",
        "/files/%ff", "/../files/x", "/files/%7f",
    ])
    func aSegmentThatCouldMeanSomethingElseIsRefused(path: String) throws {
        #expect(match(try router("/files/{name}"), path) == .invalid)
    }

    @Test func aMethodThatIsMissingNamesThoseThatAreThere() throws {
        let router = try Router([Route(.get, "/a") { _ in .empty() }, Route(.delete, "/a") { _ in .empty() }])
        #expect(match(router, "/a", .post) == .otherMethods("GET, DELETE, HEAD, OPTIONS"))
        #expect(match(router, "/a", .head) == .route(0, []))
        #expect(match(router, "/a", nil) == .otherMethods("GET, DELETE, HEAD, OPTIONS"))
    }

    @Test(arguments: [
        ["v1/a"], ["/a//b"], ["/a/"], ["/{a}/{a}"], ["/a", "/a"], ["/{a}", "/{b}"], ["/a{b}"], ["/{}"], ["/a b"],
    ])
    func patternsThatCannotBeServedAreRefused(patterns: [String]) {
        #expect(throws: HTTPError.self) { try Router(patterns.map { Route(.get, $0) { _ in .empty() } }) }
    }

    @Test func everyPathFindsWhatASearchThroughAllPatternsFinds() throws {
        var random = SeededRandom(seed: 11)
        for _ in 0..<200 {
            var patterns: Set<String> = []
            for _ in 0..<random.int(in: 1...8) {
                let segments = (0..<random.int(in: 1...4)).map { position in
                    random.pick(["a", "b", "{x\(position)}"])
                }
                patterns.insert("/" + segments.joined(separator: "/"))
            }
            let list = patterns.sorted()
            let router = try Router(list.map { Route(.get, $0) { _ in .empty() } })
            for _ in 0..<50 {
                let path = (0..<random.int(in: 1...4)).map { _ in random.pick(["a", "b", "c"]) }
                let fitting = list.indices.filter { index in
                    let pattern = list[index].dropFirst().split(separator: "/")
                    return pattern.count == path.count
                        && zip(pattern, path).allSatisfy { $0.first == "{" || $0 == Substring($1) }
                }
                // Of several that fit, the one whose first difference is a literal.
                let best = fitting.min { a, b in
                    let (a, b) = (list[a].split(separator: "/"), list[b].split(separator: "/"))
                    for (a, b) in zip(a, b) where a != b { return b.first == "{" }
                    return false
                }
                let found = router.match(.get, path: ArraySlice(("/" + path.joined(separator: "/")).utf8))
                if let best {
                    guard case .route(best, _) = found else {
                        Issue.record("\(path) among \(list): \(found)")
                        continue
                    }
                } else {
                    #expect(found == .notFound, "\(path) among \(list)")
                }
            }
        }
    }
}

@Suite struct RequestTargetTests {
    @Test(arguments: [
        ("/a?b=c", "/a", "b=c"), ("/a", "/a", ""), ("/?", "/", ""), ("/a?b?c", "/a", "b?c"),
        ("http://host/a?b", "/a", "b"), ("HTTPS://host:8/a", "/a", ""),
    ])
    func aTargetFallsApartIntoPathAndQuery(target: String, path: String, query: String) throws {
        let bytes = Array(target.utf8)
        let parts = try #require(RequestTarget.parse(bytes))
        #expect(String(decoding: bytes[parts.path], as: UTF8.self) == path)
        #expect(String(decoding: bytes[parts.query], as: UTF8.self) == query)
    }

    @Test(arguments: [
        "", "a", "*", "http://", "http:///a", "http://host", "ftp://host/a", "/a b", "/a#b", "/ä", "/a\u{7f}", "/a\\b",
        "host:80", "http://host?x/a", "?/a",
    ])
    func whatIsNoTargetIsRefused(target: String) {
        #expect(RequestTarget.parse(Array(target.utf8)) == nil)
    }

    @Test func theFirstFieldOfANameWinsAndWhatCannotBeDecodedIsLeftOut() {
        let fields = RequestTarget.fields(ofQuery: "a=1&a=2&b=x+y%21&c&=d&e=%zz&f=%C3%A9&g=1=2")
        #expect(fields == ["a": "1", "b": "x y!", "c": "", "f": "é", "g": "1=2"])
    }
}
