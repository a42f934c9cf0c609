// How fast one caller may ask.
import Foundation
import Runtime
import Synchronization

/// A caller of whom its service is sure, by the 128 bits of its identifier.
struct Caller: Hashable, Sendable {
    let high: UInt64
    let low: UInt64
}

/// Bounds each caller's requests by the generic cell rate algorithm: for each caller the moment at which all that it has
/// asked for is paid off.
struct CallerRate {
    /// How long a caller may be ahead of its rate.
    private static let seconds = 2.0
    private static let sweepSeconds = 1.0

    /// What a caller may send in one go.
    let burst: Int
    private let secondsPerRequest: Double
    private let callersMax: Int
    private var paidAt: [Caller: Double] = [:]
    private var nextSweep = 0.0

    /// - Parameters:
    ///   - requestsPerSecond: of one caller. In one go it may send twice as many.
    ///   - callersMax: of whom something is remembered. While there are more who all ask at once, those who come last are
    ///     not bounded: nobody keeps a caller out by being many.
    init(requestsPerSecond: Int, callersMax: Int = 100_000) {
        let requestsPerSecond = max(1, requestsPerSecond)
        burst = requestsPerSecond * Int(Self.seconds)
        secondsPerRequest = 1 / Double(requestsPerSecond)
        self.callersMax = callersMax
    }

    /// Counts a request.
    /// - Returns: nil when it may go on; else the seconds after which the caller may ask again: it is not counted.
    mutating func take(_ caller: Caller, at now: Double) -> Double? {
        let paid = max(paidAt[caller] ?? now, now) + secondsPerRequest
        if paid - now > Self.seconds { return paid - now - Self.seconds }
        if paidAt.count >= callersMax, now >= nextSweep {
            nextSweep = now + Self.sweepSeconds
            paidAt = paidAt.filter { $0.value > now }
        }
        guard paidAt.count < callersMax || paidAt[caller] != nil else { return nil }
        paidAt[caller] = paid
        return nil
    }
}

/// The same for requests of all threads.
final class CallerLimiter: Sendable {
    private let rate: Mutex<CallerRate>

    init(requestsPerSecond: Int) { rate = Mutex(CallerRate(requestsPerSecond: requestsPerSecond)) }

    /// - Throws: `Problem` 429.
    func count(_ caller: Caller) throws(Problem) {
        let now = EventLoop.now()
        let (wait, burst) = rate.withLock { (wait: $0.take(caller, at: now), burst: $0.burst) }
        guard let wait else { return }
        throw .tooManyRequests(
            retryAfterSeconds: max(1, Int(wait.rounded(.up))), limit: burst,
            "This account sends more requests than it may.")
    }
}
