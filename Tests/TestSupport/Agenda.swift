/// Everything that happens in a simulated world, in the order of its time; what is put down first goes first.
package struct Agenda {
    private var heap: [(at: Int, order: Int, action: () -> Void)] = []
    private var order = 0

    package init() {}

    package var isEmpty: Bool { heap.isEmpty }

    package mutating func add(at time: Int, _ action: @escaping () -> Void) {
        order += 1
        heap.append((time, order, action))
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard isBefore(child, parent) else { break }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    package mutating func next() -> (at: Int, action: () -> Void)? {
        guard let first = heap.first else { return nil }
        let last = heap.removeLast()
        if !heap.isEmpty {
            heap[0] = last
            var parent = 0
            while true {
                var least = parent
                for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count && isBefore(child, least) {
                    least = child
                }
                if least == parent { break }
                heap.swapAt(least, parent)
                parent = least
            }
        }
        return (first.at, first.action)
    }

    private func isBefore(_ a: Int, _ b: Int) -> Bool { (heap[a].at, heap[a].order) < (heap[b].at, heap[b].order) }
}
