// How much processor time and memory each program took, from /proc.
import Foundation

/// Measures programs by the process-number files of a folder, their children included.
struct ProcessMeter: Sendable {
    struct Use: Sendable, Equatable {
        let name: String
        var processorSeconds: Double
        /// The most that was in memory at once, in bytes.
        var memoryPeakBytes: Int
    }

    private let folder: String?

    /// - Parameter folder: where `NAME.pid` files are; nil measures nothing but this process.
    init(folder: String?) { self.folder = folder }

    /// What each has used so far. `stampede` is this process itself.
    func read() -> [Use] {
        let tree = ProcessTree()
        var uses: [Use] = []
        if let folder {
            let files = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
            for file in files.sorted() where file.hasSuffix(".pid") && file != "nginx.pid" {
                guard let text = try? String(contentsOfFile: "\(folder)/\(file)", encoding: .utf8),
                    let pid = text.split(separator: " ").first.flatMap({ Int32($0) }),
                    let use = tree.use(of: pid, name: String(file.dropLast(4)))
                else { continue }
                uses.append(use)
            }
        }
        if let own = tree.use(of: getpid(), name: "stampede (this)") { uses.append(own) }
        return uses
    }

    /// One process by its number, nil where it has ended.
    static func use(ofProcess pid: Int32, name: String) -> Use? { ProcessTree().use(of: pid, name: name) }

    /// What was used between two readings; memory is the later one's peak, and never below what was seen meanwhile.
    static func difference(_ before: [Use], _ after: [Use]) -> [Use] {
        after.map { use in
            var use = use
            use.processorSeconds -= before.first { $0.name == use.name }?.processorSeconds ?? 0
            return use
        }
    }
}

/// Every process of the machine with its parent, read once.
private struct ProcessTree {
    private var children: [Int32: [Int32]] = [:]

    init() {
        let entries = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        for entry in entries {
            guard let pid = Int32(entry), let stat = ProcessStat(pid) else { continue }
            children[stat.parent, default: []].append(pid)
        }
    }

    func use(of root: Int32, name: String) -> ProcessMeter.Use? {
        guard let own = ProcessStat(root) else { return nil }
        var processorSeconds = own.seconds + own.endedChildrenSeconds
        var memory = ProcessMemory(root)
        var queue = name.hasPrefix("stampede") ? [] : children[root] ?? []
        while let pid = queue.popLast() {
            guard let stat = ProcessStat(pid) else { continue }
            processorSeconds += stat.seconds + stat.endedChildrenSeconds
            memory.add(ProcessMemory(pid))
            queue += children[pid] ?? []
        }
        return .init(name: name, processorSeconds: processorSeconds, memoryPeakBytes: memory.peakBytes)
    }
}

private struct ProcessStat {
    let parent: Int32
    let seconds: Double
    let endedChildrenSeconds: Double

    init?(_ pid: Int32) {
        guard let text = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8),
            let end = text.lastIndex(of: ")")
        else { return nil }
        // proc(5), counted from the third field on.
        let fields = text[text.index(after: end)...].split(separator: " ")
        guard fields.count > 14, let parent = Int32(fields[1]) else { return nil }
        let ticks = fields[11...14].compactMap { Double($0) }
        guard ticks.count == 4 else { return nil }
        let perSecond = Double(sysconf(Int32(_SC_CLK_TCK)))
        self.parent = parent
        seconds = (ticks[0] + ticks[1]) / perSecond
        endedChildrenSeconds = (ticks[2] + ticks[3]) / perSecond
    }
}

/// A group's memory: what each has alone, and once what they share (Postgres's buffers, an executable's pages).
private struct ProcessMemory {
    private var highWaterBytes = 0
    private var ownBytes = 0
    private var sharedBytes = 0
    private var count = 1

    init(_ pid: Int32) {
        guard let text = try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8) else { return }
        for line in text.split(separator: "\n") {
            let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
            guard words.count >= 2, let kilobytes = Int(words[1]) else { continue }
            switch words[0] {
            case "VmHWM:": highWaterBytes = kilobytes << 10
            case "RssAnon:": ownBytes = kilobytes << 10
            case "RssFile:", "RssShmem:": sharedBytes += kilobytes << 10
            default: break
            }
        }
    }

    mutating func add(_ other: ProcessMemory) {
        ownBytes += other.ownBytes
        sharedBytes = max(sharedBytes, other.sharedBytes)
        count += 1
    }

    /// For one process what the kernel saw at most; for a group what it has now.
    var peakBytes: Int { count == 1 ? highWaterBytes : ownBytes + sharedBytes }
}
