import Runtime
import Testing

@Suite struct WithinTests {
    /// Never ends, also not when it is cancelled.
    private static func hang() async { await withUnsafeContinuation { (_: UnsafeContinuation<Void, Never>) in } }

    @Test func whatEndsInTimeGivesItsValue() async {
        #expect(await within(.seconds(60)) { 7 } == 7)
    }

    @Test func whatNeverEndsIsNoLongerWaitedFor() async {
        let value: Int? = await within(.milliseconds(10)) {
            await Self.hang()
            return 7
        }
        #expect(value == nil)
    }

    @Test func whatTakesTooLongIsToldToStop() async {
        let (cancellations, cancellation) = AsyncStream.makeStream(of: Void.self)
        let value: Int? = await within(.milliseconds(10)) {
            try? await Task.sleep(for: .seconds(600))
            cancellation.finish()
            return 7
        }
        #expect(value == nil)
        for await _ in cancellations {}
    }

    @Test func aCancelledCallerStopsWaiting() async {
        let task = Task {
            await within(.seconds(600)) {
                await Self.hang()
                return 7
            }
        }
        task.cancel()
        #expect(await task.value == nil)
    }

    @Test func noTimeAtAllIsNoTime() async {
        let value: Int? = await within(.seconds(-1)) {
            await Self.hang()
            return 7
        }
        #expect(value == nil)
    }
}
