import TestSupport
// The reader that the tests of documents rely on.
import Testing

@Suite struct YAMLTests {
    @Test func blockMappingsAndSequencesNest() throws {
        let tree = try YAML.parse(
            """
            # a comment
            openapi: 3.1.0
            info:
              title: "A: title"   # behind a value
              version: '1.0'
            tags:
            - name: a
              description: It's plain, with a # inside#out
            - name: b

            servers: []
            list:
              - - 1
                - -2.5
              - {type: [string, "null"], "x y": {}, ref: '#/a'}
              -
                deep: true
            empty:
            "quoted key": ~
            """)
        #expect(
            tree
                == .object([
                    "openapi": .string("3.1.0"),
                    "info": .object(["title": .string("A: title"), "version": .string("1.0")]),
                    "tags": .array([
                        .object(["name": .string("a"), "description": .string("It's plain, with a")]),
                        .object(["name": .string("b")]),
                    ]),
                    "servers": .array([]),
                    "list": .array([
                        .array([.integer(1), .number(-2.5)]),
                        .object([
                            "type": .array([.string("string"), .string("null")]), "x y": .object([:]),
                            "ref": .string("#/a"),
                        ]),
                        .object(["deep": .boolean(true)]),
                    ]),
                    "empty": .null,
                    "quoted key": .null,
                ]))
    }

    @Test func anchorsAreRepeatedAndMerged() throws {
        let tree = try YAML.parse(
            """
            one: &one
              a: 1
              b: {c: 2}
            two: &two {d: 3, a: 4}
            number: &number 5
            list: [*number, *two]
            merged:
              b: 6
              <<: [*one, *two]
            nested: &nested
              <<: *one
              e: *number
            again:
              <<: *nested
            """)
        let one: [String: DocumentTree] = ["a": .integer(1), "b": .object(["c": .integer(2)])]
        #expect(tree["list"] == .array([.integer(5), .object(["d": .integer(3), "a": .integer(4)])]))
        #expect(tree["merged"] == .object(["a": .integer(1), "b": .integer(6), "d": .integer(3)]))
        #expect(tree["again"] == .object(one.merging(["e": .integer(5)]) { $1 }))
        for text in ["a: &x {b: 1}\n<<: *y", "a: &x 1\n<<: *x", "a: &x {b: 1}\nc: {<<: *x}", "a: *a"] {
            #expect(throws: YAML.Failure.self, "\(text)") { try YAML.parse(text) }
        }
    }

    @Test func blockTextKeepsOrFoldsItsLines() throws {
        let tree = try YAML.parse(
            """
            literal: |
              one
                two # kept

              three
            folded: >-
              one
              two

              three
            plain: goes on
              over lines
            '201': {description: made,
              headers: {Location: {schema: {type: string}}}}
            """)
        #expect(tree["literal"] == .string("one\n  two # kept\n\nthree\n"))
        #expect(tree["folded"] == .string("one two\nthree"))
        #expect(tree["plain"] == .string("goes on over lines"))
        #expect(tree["201"]?["headers"]?["Location"]?["schema"]?["type"] == .string("string"))
    }

    @Test(arguments: [
        "a: 1\na: 2", "{a: 1, a: 2}", "a: &anchor 1\nb: *other", "a: *alias", "a: !tag b", "a: [1, 2", "a: \"open",
        "a: b: c",
        "a: 1\n  b: 2", "\ta: 1", "a:\n    b: 1\n  c: 2", "a: \"b\" c",
    ])
    func whatIsNotUnderstoodIsAnError(text: String) {
        #expect(throws: YAML.Failure.self) { try YAML.parse(text) }
    }

    @Test func aFailureNamesItsLine() {
        #expect { try YAML.parse("a: 1\n\n# b\nc: \"x") } throws: { ($0 as? YAML.Failure)?.line == 4 }
    }
}

@Suite struct JSONSchemaTests {
    private func problems(_ schema: String, _ value: String) throws -> [String] {
        let document = try YAML.parse(schema)
        return JSONSchema(document, in: document).problems(try DocumentTree(json: value.utf8))
    }

    @Test(arguments: [
        ("{type: object, required: [a], properties: {a: {type: integer, minimum: 1}}}", #"{"a":1}"#, #"{"a":0}"#),
        ("{type: object, required: [a]}", #"{"a":null}"#, "{}"),
        ("{properties: {a: {}}, additionalProperties: false}", #"{"a":1}"#, #"{"b":1}"#),
        ("{additionalProperties: {type: string}, minProperties: 1}", #"{"b":"x"}"#, #"{"b":1}"#),
        ("{items: {$ref: '#/x-kind'}, maxItems: 2, x-kind: {type: boolean}}", "[true,false]", "[true,1]"),
        ("{enum: [a, b]}", #""a""#, #""c""#),
        ("{oneOf: [{type: integer}, {type: number}]}", "1.5", "1"),
        ("{type: string, format: uuid}", #""01234567-89ab-7def-8123-456789abcdef""#, #""0123""#),
        ("{type: string, format: date-time}", #""2026-11-27T12:00:00Z""#, #""2026-11-27""#),
        ("{type: string, pattern: '^[A-Z]{3}$', maxLength: 3}", #""CNY""#, #""CNYX""#),
        ("{type: [string, 'null']}", "null", "1"),
        ("{type: integer}", "9007199254740993", "1.5"),
    ])
    func aRuleTellsTheFittingFromTheOther(schema: String, fits: String, doesNot: String) throws {
        #expect(try problems(schema, fits) == [])
        #expect(try problems(schema, doesNot) != [])
    }

    @Test func aKeywordThatIsNotUnderstoodIsReported() throws {
        #expect(
            try problems("{dependentRequired: {a: [b]}}", "{}") == [
                "$: the schema's dependentRequired is not understood"
            ])
    }
}

@Suite struct OpenAPIDocumentTests {
    private let document = OpenAPIDocument(
        (try? YAML.parse(
            """
            openapi: 3.1.0
            info: {title: t, version: '1'}
            paths:
              /v1/things/{id}:
                parameters:
                  - {name: id, in: path, required: true, schema: {type: string}}
                get:
                  operationId: readThing
                  summary: One thing
                  responses:
                    '200':
                      description: it
                      content: {application/json: {schema: {$ref: '#/components/schemas/Thing'}}}
                    '204': {description: none}
            components:
              schemas:
                Thing: {type: object, required: [id], properties: {id: {type: string}}}
            """)) ?? .null)

    @Test func operationsAndStatusesAreListed() {
        #expect(document.operations == ["GET /v1/things/{id}"])
        #expect(document.statuses(method: "GET", path: "/v1/things/{id}") == ["200", "204"])
        #expect(document.problems == [])
    }

    @Test func anAnswerIsHeldAgainstItsSchema() {
        func problems(_ status: Int, _ body: String, mediaType: String = "application/json") -> [String] {
            document.problems(
                method: "GET", path: "/v1/things/{id}", status: status, body: body.utf8, mediaType: mediaType)
        }
        #expect(problems(200, #"{"id":"x"}"#) == [])
        #expect(problems(204, "") == [])
        #expect(problems(200, "{}") != [])
        #expect(problems(200, #"{"id":"x"}"#, mediaType: "text/plain") != [])
        #expect(problems(404, "{}") != [])
        #expect(problems(204, "{}") != [])
    }

    @Test func aDocumentThatIsWrongInItselfIsReported() throws {
        let broken = OpenAPIDocument(
            try YAML.parse("{openapi: 3.0.0, info: {title: t}, paths: {'/a/{b}': {get: {x: {$ref: '#/none'}}}}}"))
        #expect(broken.problems.count == 7)
    }
}
