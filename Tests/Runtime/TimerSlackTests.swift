import Runtime
import Testing

@Suite struct TimerSlackTests {
    @Test func aThreadHasItsOwn() async {
        let slacks = await withCheckedContinuation { continuation in
            let code = SystemThread.start("slack-test") {
                let usual = TimerSlack.ofThisThread
                TimerSlack.ofThisThread = .milliseconds(20)
                continuation.resume(returning: (usual, TimerSlack.ofThisThread))
            }
            #expect(code == 0)
        }
        #expect(slacks.0 < .milliseconds(20))
        #expect(slacks.1 == .milliseconds(20))
    }
}
