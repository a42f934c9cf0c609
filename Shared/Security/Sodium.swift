// The one-time start of libsodium.
import CSodium

enum Sodium {
    /// Picks the fastest implementations and opens the random source. Touched by everything that calls the library.
    static let isReady: Bool = {
        // Fails only when the kernel gives no randomness, and then nothing may go on.
        precondition(sodium_init() >= 0, "libsodium found no source of randomness")
        return true
    }()
}
