import JSON
import Kafka
import Models
import ServiceKit
import Synchronization
import Testing

@testable import EventPipeline

@Suite struct CompactedTableTests {
    /// A table of the topic `sales` and what it knows.
    private struct Bench {
        let fixture: Fixture
        let context: ServiceContext
        let table: CompactedTable
        let known: Known

        final class Known: Sendable {
            let values = Mutex<[String: String]>([:])
        }

        init() async throws {
            fixture = try await Fixture()
            context = try fixture.context()
            let known = Known()
            self.known = known
            table = CompactedTable(context, topic: .sales) { (key, _, body) throws(JSONError) in
                let value = try body?.string("v")
                known.values.withLock { $0[String(decoding: key, as: UTF8.self)] = value }
            }
        }

        func put(_ key: String, _ value: String?) async throws {
            var records = RecordBatch()
            records.append(
                topic: Topic.sales.name, key: Array(key.utf8), value: value.map { Array(#"{"v":"\#($0)"}"#.utf8) },
                headers: [("ce_type", Array("t".utf8))])
            try await context.producer.send(records)
        }

        subscript(key: String) -> String? { known.values.withLock { $0[key] } }

        func isReady(_ ready: Bool) async throws {
            try await fixture.until("the table is ready: \(ready)") { table.isReady == ready }
        }

        /// Lets every fetch fail until told otherwise. Ends when the table has noticed.
        func failFetching(_ error: Int32) async throws {
            fixture.broker.embedded?.failRequests(.fetch, with: Array(repeating: error, count: 10_000))
            try await isReady(false)
        }

        func letFetch() { fixture.broker.embedded?.stopFailing(.fetch) }
    }

    @Test func aTableWhoseReaderFailsIsNotReadyAndGoesOnByItself() async throws {
        let bench = try await Bench()
        try await bench.put("a", "1")
        try await bench.put("b", "1")
        try await bench.table.start()
        #expect(bench.table.isReady && bench.table.detail == nil)
        // TOPIC_AUTHORIZATION_FAILED
        try await bench.failFetching(29)
        #expect(bench.table.detail?.contains("AUTHORIZATION") == true)
        await #expect(throws: TableNotCurrent.self) { try await bench.table.catchUp() }
        #expect(bench["a"] == "1")
        try await bench.put("a", "2")
        try await bench.put("b", nil)
        bench.letFetch()
        try await bench.isReady(true)
        #expect(bench["a"] == "2" && bench["b"] == nil)
        try await bench.put("c", "1")
        try await bench.table.catchUp()
        #expect(bench["c"] == "1")
        #expect(bench.context.metrics.render().contains(#"stampede_table_restarts_total{topic="sales"}"#))
        await bench.table.stop()
    }

    @Test func aReaderThatDiesIsReplaced() async throws {
        let bench = try await Bench()
        try await bench.put("a", "1")
        try await bench.table.start()
        let first = try #require(bench.table.reader)
        await first.close()
        try await bench.fixture.until("there is another reader") { bench.table.reader !== first }
        try await bench.isReady(true)
        try await bench.put("a", "2")
        try await bench.table.catchUp()
        #expect(bench["a"] == "2")
        await bench.table.stop()
    }

    /// What was there before stays until all is read, and what is not found goes.
    @Test func aPlaceThatTheLogDoesNotHoldBeginsTheTableAnew() async throws {
        let bench = try await Bench()
        try await bench.put("a", "1")
        try await bench.put("b", "1")
        try await bench.table.start()
        // A key that the log never held stands for one whose tombstone is gone.
        bench.table.remember(Array("lost".utf8))
        bench.known.values.withLock { $0["lost"] = "1" }
        // OFFSET_OUT_OF_RANGE
        try await bench.failFetching(1)
        try await bench.put("b", nil)
        try await bench.put("a", "2")
        bench.letFetch()
        try await bench.isReady(true)
        #expect(bench.known.values.withLock { $0 } == ["a": "2"])
        await bench.table.stop()
    }

    @Test func waitersAreToldThatTheTableIsNoLongerCurrent() async throws {
        let bench = try await Bench()
        try await bench.table.start()
        // Nothing is fetched, so what is put cannot be reached.
        bench.fixture.broker.embedded?.failRequests(.fetch, with: Array(repeating: 6, count: 10_000))
        try await bench.put("a", "1")
        let waiter = Task { try await bench.table.catchUp() }
        try await bench.fixture.until("somebody waits") { bench.table.waiting == 1 }
        await bench.table.reader?.close()
        await #expect(throws: TableNotCurrent.self) { try await waiter.value }
        #expect(bench.table.waiting == 0)
        bench.letFetch()
        await bench.table.stop()
    }

    @Test func aWaiterThatIsCancelledOrWaitsTooLongLeaves() async throws {
        let bench = try await Bench()
        try await bench.table.start()
        bench.fixture.broker.embedded?.failRequests(.fetch, with: Array(repeating: 6, count: 10_000))
        try await bench.put("a", "1")
        let cancelled = Task { try await bench.table.catchUp() }
        let patient = Task { try await bench.table.catchUp() }
        try await bench.fixture.until("both wait") { bench.table.waiting == 2 }
        cancelled.cancel()
        await #expect(throws: TableNotCurrent.self) { try await cancelled.value }
        try await bench.fixture.until("one waits") { bench.table.waiting == 1 }
        let error = await #expect(throws: TableNotCurrent.self) { try await patient.value }
        #expect(error?.reason.contains("within 5") == true)
        try await bench.fixture.until("nobody waits") { bench.table.waiting == 0 }
        await bench.table.stop()
    }

    @Test func aTableThatWasNotStartedOrIsStoppedIsNotCurrent() async throws {
        let bench = try await Bench()
        await #expect(throws: TableNotCurrent.self) { try await bench.table.catchUp() }
        try await bench.table.start()
        try await bench.table.catchUp()
        await bench.table.stop()
        await #expect(throws: TableNotCurrent.self) { try await bench.table.catchUp() }
        #expect(!bench.table.isReady)
    }

    @Test func aTableThatIsNotCurrentIsAnOutageAndNoRecordsFault() {
        let error = TableNotCurrent(topic: "sales", reason: "away")
        #expect(Fate(of: error) == .outage("the table of sales is not current: away"))
    }
}
