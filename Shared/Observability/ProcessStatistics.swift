// What the process itself uses: CPU, memory, threads, open files.
import Foundation

/// A reading of `/proc/self`, in the names that Prometheus clients share.
public struct ProcessStatistics: Sendable {
    /// User and system time since the process began.
    public let cpuSeconds: Double
    /// Resident memory now.
    public let residentBytes: Int
    /// The most resident memory since the process began.
    public let residentBytesMax: Int
    public let virtualBytes: Int
    public let threads: Int
    public let openFiles: Int

    /// Nil where there is no `/proc` or it reads in no known way.
    public static func current() -> ProcessStatistics? {
        guard let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8) else { return nil }
        var fields: [Substring: Int] = [:]
        for line in status.split(separator: "\n") {
            // "VmRSS:	   12345 kB"; fields that are no number are of no interest here.
            let parts = line.split(whereSeparator: { $0 == ":" || $0 == "\t" || $0 == " " })
            if parts.count >= 2, let value = Int(parts[1]) { fields[parts[0]] = value }
        }
        var usage = rusage()
        guard getrusage(RUSAGE_SELF.rawValue, &usage) == 0, let resident = fields["VmRSS"],
            let virtual = fields["VmSize"], let threads = fields["Threads"]
        else { return nil }
        func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1_000_000 }
        let files = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count) ?? 0
        return ProcessStatistics(
            cpuSeconds: seconds(usage.ru_utime) + seconds(usage.ru_stime), residentBytes: resident * 1024,
            residentBytesMax: (fields["VmHWM"] ?? resident) * 1024, virtualBytes: virtual * 1024, threads: threads,
            openFiles: files)
    }
}

extension Metrics {
    /// Adds `process_…` to what is rendered, read at each rendering.
    public func addProcessStatistics() {
        func add(
            _ name: String, _ help: String, isCounter: Bool = false,
            _ read: @escaping @Sendable (ProcessStatistics) -> Double
        ) {
            observed(name, help: help, isCounter: isCounter) { ProcessStatistics.current().map(read) }
        }
        add("process_cpu_seconds_total", "User and system CPU time spent.", isCounter: true) { $0.cpuSeconds }
        add("process_resident_memory_bytes", "Resident memory.") { Double($0.residentBytes) }
        add("process_resident_memory_max_bytes", "The most resident memory so far.") { Double($0.residentBytesMax) }
        add("process_virtual_memory_bytes", "Virtual memory.") { Double($0.virtualBytes) }
        add("process_threads", "Threads.") { Double($0.threads) }
        add("process_open_fds", "Open file descriptors.") { Double($0.openFiles) }
        let started = Double(Tracer.now()) / 1e9
        observed("process_start_time_seconds", help: "When the process began to count, since 1970.") { started }
    }
}
