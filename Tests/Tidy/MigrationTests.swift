// A migration is applied while the version before still runs: it may add, and take away only what nobody uses any more.
import Foundation
import Testing

@Suite struct MigrationTests {
    /// What the statements of the version before would fail on.
    static func narrowings(_ sql: String) -> [String] {
        let text = sql.replacing(/--[^\n]*/, with: " ")
            .replacing(/\$\$.*?\$\$/.dotMatchesNewlines(), with: " ").uppercased()
        var found: [String] = []
        for statement in text.split(separator: ";") {
            let words = statement.split(whereSeparator: \.isWhitespace).joined(separator: " ")
            // What a new table demands concerns nobody.
            if words.hasPrefix("CREATE TABLE") { continue }
            let rules: [(String, any RegexComponent)] = [
                ("takes away", /\bDROP (TABLE|COLUMN|VIEW|FUNCTION|TYPE|SCHEMA|SEQUENCE)\b/),
                ("renames", /\bRENAME\b/),
                ("changes a type", /\bALTER (COLUMN )?\w+ (SET DATA )?TYPE\b/),
                ("demands a value", /\bSET NOT NULL\b/),
                ("refuses rows", /\bADD (CONSTRAINT|CHECK|UNIQUE|PRIMARY KEY|FOREIGN KEY|EXCLUDE)\b/),
                ("refuses rows", /^CREATE UNIQUE INDEX\b/),
            ]
            for (what, rule) in rules where isFound(rule, words) { found.append("\(what): \(words)") }
            for column in words.components(separatedBy: "ADD COLUMN").dropFirst() {
                let definition = column.prefix { $0 != "," }
                if definition.contains("NOT NULL"), !definition.contains("DEFAULT") {
                    found.append("demands a value: \(words)")
                }
            }
        }
        return found
    }

    private static func isFound(_ rule: some RegexComponent, _ words: String) -> Bool { words.contains(rule) }

    @Test func everyMigrationAfterTheFirstOnlyAdds() throws {
        let files = try SourceTree.files(under: ["Services"], ending: [".sql"])
        #expect(files.count >= 5)
        for file in files {
            let name = file.path.split(separator: "/").last ?? ""
            guard !name.hasPrefix("0001_"), !name.hasSuffix("_contract.sql") else { continue }
            #expect(Self.narrowings(file.text).isEmpty, "\(file.path)")
        }
    }

    @Test(arguments: [
        "DROP TABLE orders", "ALTER TABLE orders DROP COLUMN state", "ALTER TABLE orders RENAME TO old_orders",
        "ALTER TABLE orders RENAME COLUMN a TO b", "ALTER TABLE orders ALTER COLUMN state TYPE text",
        "ALTER TABLE orders ALTER state SET NOT NULL",
        "ALTER TABLE orders ADD COLUMN x text NOT NULL, ADD COLUMN y int",
        "ALTER TABLE orders ADD CHECK (state > 0)", "ALTER TABLE orders\n  ADD CONSTRAINT c UNIQUE (x)",
        "CREATE TABLE a (x int); -- and\nCREATE UNIQUE INDEX ON orders (x)",
    ])
    func whatTheVersionBeforeWouldFailOnIsFound(sql: String) { #expect(Self.narrowings(sql).count == 1, "\(sql)") }

    @Test(arguments: [
        "CREATE TABLE a (x int NOT NULL PRIMARY KEY, CHECK (x > 0), UNIQUE (x))", "-- DROP TABLE orders\nSELECT 1",
        "ALTER TABLE orders ADD COLUMN x text, ADD COLUMN y int NOT NULL DEFAULT 0", "CREATE INDEX ON orders (x)",
        "ALTER TABLE orders ALTER COLUMN x DROP NOT NULL", "DROP INDEX orders_x",
        "ALTER TABLE orders DROP CONSTRAINT orders_check",
    ])
    func whatOnlyAddsIsFine(sql: String) { #expect(Self.narrowings(sql).isEmpty, "\(sql)") }
}
