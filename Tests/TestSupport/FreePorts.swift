// Ports of the loopback for programs that a test starts.
import Foundation
import Synchronization

package enum FreePorts {
    /// Below the ports that the kernel gives to connections, which come and go meanwhile; above what is known by a number.
    private static let range: Range<Int> = {
        let text = (try? String(contentsOfFile: "/proc/sys/net/ipv4/ip_local_port_range", encoding: .utf8)) ?? ""
        let lowest = text.split(whereSeparator: \.isWhitespace).first.flatMap { Int($0) } ?? 32_768
        return lowest > 20_000 ? 10_000..<lowest : 10_000..<65_000
    }()
    /// What was given out is given to nobody else of this process.
    private static let given = Mutex<Set<Int>>([])
    /// Nor to another process of tests: who has a port holds the lock on its byte of this file.
    private static let locks = open("/tmp/stampede-test-ports", O_RDWR | O_CREAT | O_CLOEXEC, 0o666)

    package struct NoneLeft: Error {}

    /// The first of `count` ports that nothing listens on now, `step` apart.
    package static func take(_ count: Int = 1, step: Int = 1) throws -> Int {
        for _ in 0..<10_000 {
            let first = Int.random(in: range)
            let ports = (0..<count).map { first + step * $0 }
            guard ports.allSatisfy(range.contains), given.withLock({ $0.isDisjoint(with: ports) }) else { continue }
            let sockets = ports.map(bind)
            defer { for socket in sockets { if let socket { close(socket) } } }
            guard !sockets.contains(nil), ports.allSatisfy(lock) else { continue }
            if given.withLock({ given in
                guard given.isDisjoint(with: ports) else { return false }
                given.formUnion(ports)
                return true
            }) {
                return first
            }
        }
        throw NoneLeft()
    }

    /// A port that is taken as long as its socket is open.
    package static func hold() throws -> (socket: Int32, port: Int) {
        let port = try take()
        guard let socket = bind(port), listen(socket, 1) == 0 else { throw NoneLeft() }
        return (socket, port)
    }

    /// False where another process has it. Ends with this process.
    private static func lock(_ port: Int) -> Bool {
        var lock = flock()
        lock.l_type = Int16(F_WRLCK)
        lock.l_whence = Int16(SEEK_SET)
        lock.l_start = off_t(port)
        lock.l_len = 1
        return fcntl(locks, F_SETLK, &lock) == 0
    }

    private static func bind(_ port: Int) -> Int32? {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        let isBound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
        if isBound { return descriptor }
        close(descriptor)
        return nil
    }
}
