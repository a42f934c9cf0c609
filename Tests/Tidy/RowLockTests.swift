// Rows are locked by themselves: in READ COMMITTED a row that another transaction is updating is waited for and then
// looked at again, and what stands beside it decides whether it still counts. See `RowLocks`.
import Foundation
import Testing

/// Reads statements that lock rows.
///
/// After the wait Postgres evaluates the conditions again on the row's new version, with the rows of other relations that
/// it was joined with before; the members of a union have none to give, and the row counts as missing. So a locking clause
/// stands in a SELECT of one table, chosen by its own columns: by a value, `= ANY(values)`, or `= ANY(ARRAY(SELECT …))`,
/// which is evaluated once and before. Where the key has several columns, one `JOIN unnest(values) … USING (key)`, whose
/// rows Postgres keeps. What is read of other rows belongs to the next statement.
enum RowLocks {
    /// The statements of a Swift file, by its string literals, with interpolated values as `$`.
    static func statements(_ source: String) -> [String] {
        var found: [String] = []
        for literal in source.matches(
            of: /"""(.*?)"""|"((?:[^"\\\n]|\\.|\\\((?:[^()]|\([^()]*\))*\))*)"/.dotMatchesNewlines())
        {
            let text = String(literal.output.1 ?? literal.output.2 ?? "")
            if text.contains(lockingClause) { found.append(withoutValues(text)) }
        }
        return found
    }

    static var lockingClause: Regex<Substring> { /\bFOR\s+(?:NO\s+KEY\s+)?(?:UPDATE|(?:KEY\s+)?SHARE)\b/ }

    private static func withoutValues(_ text: String) -> String {
        var result = ""
        var rest = text[...]
        while let start = rest.range(of: "\\(") {
            result += rest[..<start.lowerBound] + "$"
            rest = behindParenthesis(rest[start.upperBound...])
        }
        return result + rest
    }

    /// What comes behind the parenthesis that is open where the text begins.
    private static func behindParenthesis(_ text: Substring) -> Substring {
        var depth = 1
        var index = text.startIndex
        while depth > 0, index < text.endIndex {
            if text[index] == "(" { depth += 1 } else if text[index] == ")" { depth -= 1 }
            index = text.index(after: index)
        }
        return text[index...]
    }

    /// What is wrong with how a statement locks; nil: nothing.
    static func fault(_ statement: String) -> String? {
        let words = statement.split(whereSeparator: \.isWhitespace).joined(separator: " ")
            .replacing("( ", with: "(")
        for clause in words.matches(of: lockingClause) {
            guard let select = select(before: clause.range.lowerBound, in: words) else { return "no SELECT before it" }
            if let fault = fault(ofSelect: select) { return "\(fault): \(select)" }
        }
        return nil
    }

    /// The SELECT that a locking clause ends: back to where its parenthesis opens.
    private static func select(before end: String.Index, in words: String) -> String? {
        var depth = 0
        var start = end
        while start > words.startIndex {
            let before = words.index(before: start)
            if words[before] == ")" { depth += 1 }
            if words[before] == "(" {
                if depth == 0 { break }
                depth -= 1
            }
            start = before
        }
        let level = words[start..<end]
        return level.range(of: "SELECT ").map { String(level[$0.lowerBound...]) }
    }

    private static func fault(ofSelect select: String) -> String? {
        let outer = levels(select)
        if outer.contains(/\b(UNION|INTERSECT|EXCEPT|GROUP BY|DISTINCT|HAVING|LATERAL)\b/) { return "a set or a group" }
        guard let from = outer.firstMatch(of: /\bFROM (.*?)(?= WHERE | ORDER BY | LIMIT |$)/)?.output.1 else {
            return "no FROM"
        }
        let table = /^\w+(?: (?:AS )?(?!JOIN)\w+)?(?: JOIN unnest\(\) AS \w+ ?\(\) USING \(\))?\s*$/
        if !from.contains(table) { return "more than one table" }
        // What is asked beside: once and before, or as the limit.
        let asked = withoutArrays(select).replacing("LIMIT (SELECT ", with: "LIMIT (")
        if levels(asked.dropFirst("SELECT".count)).contains("SELECT ") || hasSubquery(asked.dropFirst("SELECT".count)) {
            return "a subquery"
        }
        if !outer.contains("ORDER BY"), outer.contains("ANY(") { return "no order" }
        return nil
    }

    /// Without what is asked once, before: `ANY(ARRAY(SELECT …))`.
    private static func withoutArrays(_ text: String) -> String {
        var result = ""
        var rest = text[...]
        while let array = rest.range(of: "ANY(ARRAY(SELECT ") {
            result += rest[..<array.lowerBound] + "ANY(ARRAY()"
            rest = behindParenthesis(rest[array.upperBound...])
        }
        return result + rest
    }

    private static func hasSubquery(_ text: Substring) -> Bool { text.contains(#/\( ?SELECT /#) }

    /// The text without what stands in its parentheses.
    private static func levels(_ text: some StringProtocol) -> String {
        var depth = 0
        var result = ""
        for character in text {
            if character == ")" { depth -= 1 }
            if depth == 0 { result.append(character) }
            if character == "(" { depth += 1 }
        }
        return result
    }
}

@Suite struct RowLockTests {
    @Test func rowsAreLockedByThemselves() throws {
        var count = 0
        for file in try SourceTree.files(under: ["Services", "Shared", "Tools"], ending: [".swift"]) {
            for statement in RowLocks.statements(file.text) {
                count += 1
                let fault = RowLocks.fault(statement)
                #expect(fault == nil, "\(file.path)")
            }
        }
        for file in try SourceTree.files(under: ["Services", "Shared"], ending: [".sql"]) {
            let text = file.text.replacing(/--[^\n]*/, with: " ")
            for statement in text.split(separator: ";") where statement.contains(RowLocks.lockingClause) {
                count += 1
                #expect(RowLocks.fault(String(statement)) == nil, "\(file.path)")
            }
        }
        #expect(count >= 12)
    }

    @Test(arguments: [
        "SELECT a FROM t WHERE (b, c) IN (SELECT x, 0 FROM unnest($) AS x UNION ALL SELECT y, 1 FROM o) ORDER BY a FOR UPDATE",
        "SELECT a FROM t JOIN s USING (a) WHERE a = $ FOR UPDATE OF t", "SELECT a FROM t, s WHERE t.a = s.a FOR UPDATE",
        "SELECT a FROM t WHERE EXISTS (SELECT FROM s WHERE s.a = t.a) FOR SHARE",
        "SELECT a FROM t WHERE a IN (SELECT a FROM s) ORDER BY a FOR NO KEY UPDATE",
        "SELECT a FROM t JOIN unnest($) AS k(a) USING (a) JOIN s USING (a) ORDER BY a FOR UPDATE OF t",
        "SELECT DISTINCT a FROM t WHERE a = $ FOR UPDATE", "SELECT a FROM t WHERE a = ANY($) FOR UPDATE",
        "WITH l AS (SELECT a FROM t WHERE b = (SELECT max(b) FROM t) ORDER BY a FOR UPDATE) UPDATE t SET c = 1 FROM l",
    ])
    func whatCanLoseARowIsFound(statement: String) { #expect(RowLocks.fault(statement) != nil) }

    @Test(arguments: [
        "SELECT a FROM t WHERE a = $ FOR UPDATE", "SELECT a FROM t WHERE a = ANY($) ORDER BY a FOR UPDATE",
        "SELECT a FROM t WHERE a = ANY(ARRAY(SELECT a FROM s JOIN t USING (b) WHERE c = ANY($))) ORDER BY a FOR UPDATE",
        "SELECT t.a FROM t JOIN unnest($, $) AS k(a, b) USING (a, b) WHERE c < 4 ORDER BY t.a FOR UPDATE OF t",
        "SELECT a FROM t WHERE b = 2 ORDER BY c LIMIT (SELECT least(n, 5) FROM f) FOR UPDATE SKIP LOCKED",
        "DELETE FROM t WHERE (a, b) IN (SELECT a, b FROM t WHERE c < now() ORDER BY c LIMIT $ FOR UPDATE SKIP LOCKED)",
    ])
    func whatLocksRowsByThemselvesIsFine(statement: String) {
        let fault = RowLocks.fault(statement)
        #expect(fault == nil)
    }

    @Test func statementsAreFoundInSwift() {
        let source =
            "let a: SQL = \"SELECT b FROM c WHERE d = \\(f(x)) FOR UPDATE\"\nlet b = \"\"\"\n  SELECT e FOR SHARE\n  \"\"\""
        #expect(RowLocks.statements(source).count == 2)
        #expect(RowLocks.statements(source).first == "SELECT b FROM c WHERE d = $ FOR UPDATE")
    }
}
