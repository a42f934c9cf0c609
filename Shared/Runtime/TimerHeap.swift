// The timers of an event loop: a binary heap by when they are due.

/// Cancelled timers stay in the heap until they come up or outnumber the others.
struct TimerHeap {
    private struct Entry {
        let at: Double
        let token: Int
    }

    private static let cancelledMax = 64

    private var heap: [Entry] = []
    private var actions: [Int: @Sendable () -> Void] = [:]
    private var lastToken = 0

    /// Nothing to wait for.
    var isEmpty: Bool { actions.isEmpty }

    /// When the next one is due, on the clock of `EventLoop.now`. It may be that of a cancelled one: then a look is in vain.
    var next: Double? { isEmpty ? nil : heap.first?.at }

    mutating func add(at time: Double, _ fire: @escaping @Sendable () -> Void) -> Int {
        lastToken += 1
        actions[lastToken] = fire
        heap.append(Entry(at: time, token: lastToken))
        rise(heap.count - 1)
        return lastToken
    }

    mutating func cancel(_ token: Int) {
        actions[token] = nil
        guard heap.count - actions.count > max(actions.count, Self.cancelledMax) else { return }
        heap.removeAll { actions[$0.token] == nil }
        // In order is a heap.
        heap.sort { Self.isBefore($0, $1) }
    }

    /// Takes the first that is due out.
    mutating func takeDue(_ now: Double) -> (@Sendable () -> Void)? {
        while let first = heap.first, first.at <= now {
            let last = heap.removeLast()
            if !heap.isEmpty {
                heap[0] = last
                sink()
            }
            if let fire = actions.removeValue(forKey: first.token) { return fire }
        }
        return nil
    }

    private static func isBefore(_ one: Entry, _ other: Entry) -> Bool {
        one.at != other.at ? one.at < other.at : one.token < other.token
    }

    private mutating func rise(_ start: Int) {
        var index = start
        while index > 0, case let parent = (index - 1) / 2, Self.isBefore(heap[index], heap[parent]) {
            heap.swapAt(index, parent)
            index = parent
        }
    }

    private mutating func sink() {
        var index = 0
        while case let left = 2 * index + 1, left < heap.count {
            let right = left + 1
            let least = right < heap.count && Self.isBefore(heap[right], heap[left]) ? right : left
            guard Self.isBefore(heap[least], heap[index]) else { return }
            heap.swapAt(index, least)
            index = least
        }
    }
}
