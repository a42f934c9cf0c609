// scripts/plans-report: which statements read more than they need.
import Foundation
import Testing

@testable import StampedeCore

@Suite struct PlansReportTests {
    private func report(
        read rows: Int, calls: Int = 1, isLogged: Bool = true, comment: String = ""
    ) async throws -> (Int32, String) {
        let folder = "/tmp/stampede-plans-\(getpid())-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let statements = #"""
            [{"role": "payment", "query": "UPDATE orders o SET state = $2\#(comment) FROM unnest($1) AS k(id)\nWHERE o.id = k.id",
              "calls": \#(calls), "rows": 2, "milliseconds": 1.5, "blocks": 1000}]
            """#
        // Two rows written; a scan in a nested loop that returned one row each of two times and dropped the others.
        let plan = #"""
            {"Query Text": "\n  UPDATE orders o SET state = 'paid'\#(comment)\n  FROM unnest($1) AS k(id) WHERE o.id = k.id", "Plan": {
              "Node Type": "ModifyTable", "Actual Rows": 0, "Actual Loops": 1, "Plans": [
                {"Node Type": "Nested Loop", "Parent Relationship": "Outer", "Actual Rows": 2, "Actual Loops": 1,
                 "Plans": [
                  {"Node Type": "Function Scan", "Actual Rows": 2, "Actual Loops": 1},
                  {"Node Type": "Index Scan", "Actual Rows": 1, "Actual Loops": 2,
                    "Rows Removed by Filter": \#(rows / 2 - 1)}]}]}}
            """#
        let message = try JSONEncoder().encode("duration: 0.1 ms  plan:\n" + plan)
        let line = #"{"user": "payment", "message": \#(String(decoding: message, as: UTF8.self))}"# + "\n"
        try statements.write(toFile: folder + "/statements.json", atomically: true, encoding: .utf8)
        let lines = "no JSON\n" + (isLogged ? line : "")
        try lines.write(toFile: folder + "/log.json", atomically: true, encoding: .utf8)
        let log = folder + "/output"
        _ = FileManager.default.createFile(atPath: log, contents: nil)
        let program = try ChildProgram(
            "\(Stack.root)/scripts/plans-report", [folder + "/statements.json", folder + "/log.json"],
            environment: ["PATH": "/usr/sbin:/usr/bin:/bin"], output: try #require(FileHandle(forWritingAtPath: log)))
        let code = await program.wait()
        return (code, try String(contentsOfFile: log, encoding: .utf8))
    }

    @Test func aStatementMayReadTwentyTimesWhatItWrites() async throws {
        let (code, output) = try await report(read: 40)
        #expect(code == 0, "\(output)")
        let line = "payment              1          2          40           2       20  UPDATE orders"
        #expect(output.contains(line), "\(output)")
        #expect(output.contains("1 statements, 0 that read more"))
    }

    @Test func moreFails() async throws {
        let (code, output) = try await report(read: 42)
        #expect(code == 1)
        #expect(output.contains("BAD UPDATE orders"), "\(output)")
    }

    @Test func aStatementThatSaysWhyMayReadMore() async throws {
        let (code, output) = try await report(read: 42, comment: #"\n-- Reads more: there are 3 of them.\n"#)
        #expect(code == 0, "\(output)")
        #expect(output.contains("[excepted: there are 3 of them.] UPDATE orders"), "\(output)")
        #expect(output.contains("wrote, 1 excepted"), "\(output)")
    }

    @Test func aCallThatFindsNothingCountsAsOneRow() async throws {
        #expect(try await report(read: 80, calls: 4).0 == 0)
    }

    @Test func aStatementWhosePlansAreNotThereFails() async throws {
        let (code, output) = try await report(read: 2, isLogged: false)
        #expect(code == 1)
        #expect(output.contains("unknown"))
    }
}
