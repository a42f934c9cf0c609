// How punctual a thread's waits are.
import CLinux

/// By how much the kernel may delay the end of a thread's waits for a time, so that it wakes the processor once for
/// several of them. 50 µs unless it is set; a wait that ends by an event is not delayed.
public enum TimerSlack {
    /// That of the calling thread. Threads that it starts have the same.
    public static var ofThisThread: Duration {
        get { .nanoseconds(Int64(stampede_timer_slack())) }
        set { _ = stampede_set_timer_slack(UInt(max(1, newValue / .nanoseconds(1)))) }
    }
}
