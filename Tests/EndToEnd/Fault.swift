// Everything that is made to go wrong.
import Foundation
import Models
import Observability
import Postgres
import TestSupport

@testable import StampedeCore

struct Fault: Sendable {
    let name: String
    /// How long it lasts, in seconds.
    let lasts: ClosedRange<Double>
    let begin: @Sendable (FaultBench) async throws -> Void
    let end: @Sendable (FaultBench) async throws -> Void

    init(
        _ name: String, _ lasts: ClosedRange<Double>,
        begin: @escaping @Sendable (FaultBench) async throws -> Void,
        end: @escaping @Sendable (FaultBench) async throws -> Void = { _ in }
    ) {
        self.name = name
        self.lasts = lasts
        self.begin = begin
        self.end = end
    }

    static func all(_ bench: FaultBench) -> [Fault] {
        var faults = deaths(bench)
        for server in Server.allCases {
            for owner in [nil] + Settings.Service.allCases.map({ $0.rawValue }) as [String?] where owner != "catalog" {
                faults += [
                    cut(server, owner), slow(server, owner), silent(server, owner), reset(server, owner),
                ]
            }
        }
        faults += freezes(bench)
        faults.append(frozen("broker", 3...8))
        if bench.can.fillsDisk { faults.append(diskFull) }
        if bench.can.movesClocks {
            for program in Stack.withMovableClocks {
                let seconds = program == "postgres" ? 1200 : 300
                faults += [clock(program, seconds), clock(program, -seconds)]
            }
        }
        return faults
    }

    /// Every program that runs is killed; those of which there are more are lost for a while.
    static func deaths(_ bench: FaultBench) -> [Fault] {
        let services = Settings.Service.allCases.map { bench.stack.instances(of: $0.rawValue) }
        return (services.joined() + ["broker", "postgres"]).map(killed)
            + services.filter { $0.count > 1 }.joined().map(lost)
    }

    /// For longer than a member's session.
    static func freezes(_ bench: FaultBench) -> [Fault] {
        ["messaging", "reservation", "payment", "notification"].flatMap { bench.stack.instances(of: $0) }
            .map { frozen($0, 8...12) }
    }

    /// One of each kind, the long ones left out.
    static func short(_ bench: FaultBench) -> [Fault] {
        let kills = (Settings.Service.allCases.map(\.rawValue) + ["broker", "postgres"]).map(killed)
        var faults =
            kills + [
                cut(.kafka, nil), silent(.kafka, "reservation"), slow(.kafka, "messaging"), reset(.kafka, nil),
                cut(.postgres, "reservation"), silent(.postgres, nil), slow(.postgres, nil),
                reset(.postgres, "payment"),
            ]
        if bench.can.fillsDisk { faults.append(diskFull) }
        if bench.can.movesClocks {
            faults += [
                clock("postgres", 1200), clock("messaging", 300), clock("messaging", -300), clock("reservation", -300),
            ]
        }
        return faults
    }

    enum Server: String, CaseIterable, Sendable { case kafka, postgres }

    // MARK: Kinds

    static func killed(_ program: String) -> Fault {
        Fault("\(program) is killed", 0...0) { try await $0.stack.crash(program) }
    }

    /// As a machine that is gone: nobody starts it again until somebody does.
    static func lost(_ program: String) -> Fault {
        Fault("\(program) is lost", 6...9) { bench in
            try bench.stack.signal("\(program).supervisor", SIGKILL)
            try bench.stack.signal(program, SIGKILL)
        } end: {
            try await $0.stack.script("up").requireSuccess()
        }
    }

    /// As an upgrade does it: asked to end, and started anew.
    /// - Parameter port: where it is to say that it is ready again; nil: nobody waits for that.
    static func restarted(_ program: String, readyOn port: Int? = nil) -> Fault {
        Fault("\(program) is restarted", 0...0) { bench in
            let before = bench.stack.processNumber(program)
            try bench.stack.signal(program, SIGTERM)
            try await bench.stack.eventually { ![nil, before].contains(bench.stack.processNumber(program)) }
            guard let port else { return }
            let ready = ["--silent", "--fail", "--output", "/dev/null", "http://127.0.0.1:\(port)/health/ready"]
            try await bench.stack.eventually { try await bench.stack.run("/usr/bin/curl", ready).code == 0 }
        }
    }

    static func cut(_ server: Server, _ owner: String?) -> Fault {
        network("is cut off", .cut, server, owner, 1...5)
    }

    static func slow(_ server: Server, _ owner: String?) -> Fault {
        network("is slow", .slow(milliseconds: 300), server, owner, 2...6)
    }

    static func silent(_ server: Server, _ owner: String?) -> Fault {
        network("falls silent", .silent, server, owner, 2...6)
    }

    static func reset(_ server: Server, _ owner: String?) -> Fault {
        Fault("\(server) resets \(owner ?? "everybody")", 0...0) { $0.proxy(server).reset(owner) }
    }

    private static func network(
        _ what: String, _ fault: FaultProxy.Fault, _ server: Server, _ owner: String?, _ lasts: ClosedRange<Double>
    ) -> Fault {
        Fault("\(server) \(what) for \(owner ?? "all")", lasts) {
            $0.proxy(server).set(fault, for: owner)
        } end: {
            $0.proxy(server).set(.none, for: owner)
        }
    }

    static func frozen(_ program: String, _ lasts: ClosedRange<Double>) -> Fault {
        Fault("\(program) is frozen", lasts) {
            try $0.stack.signal(program, SIGSTOP)
        } end: {
            try $0.stack.signal(program, SIGCONT)
        }
    }

    static let diskFull = Fault("the disk of postgres is full", 3...8) { bench in
        // More than fits: it takes all there is.
        let path = "\(bench.stack.folder)/postgres"
        _ = try await bench.stack.run("/bin/dd", ["if=/dev/zero", "of=\(path)/filler", "bs=1M", "count=100000"])
    } end: { bench in
        try FileManager.default.removeItem(atPath: "\(bench.stack.folder)/postgres/filler")
    }

    static func clock(_ program: String, _ seconds: Int) -> Fault {
        Fault("the clock of \(program) jumps by \(seconds) s", 2...4) { bench in
            try bench.stack.moveClock(of: program, bySeconds: seconds)
            // What the others' clocks say cannot be asked.
            guard ["postgres", "messaging"].contains(program) else { return }
            try await bench.stack.eventually {
                let now = program == "postgres" ? try await bench.clockOfPostgres() : bench.crowd.lastAcceptedAt
                return abs((now - WallClock.now()).seconds - Double(seconds)) < 60
            }
        } end: {
            try $0.stack.moveClock(of: program, bySeconds: 0)
        }
    }
}

extension FaultBench {
    func clockOfPostgres() async throws -> Timestamp {
        let pool = try PostgresPool(
            dsn: try stack.settings().dsn(.reservation), connectionsMax: 1, applicationName: "test",
            log: Logger(service: "test", level: .error), metrics: Metrics())
        let now: Timestamp = try await pool.query("SELECT clock_timestamp()").one()
        await pool.close()
        return now
    }

    func proxy(_ server: Fault.Server) -> FaultProxy { server == .kafka ? kafka : postgres }
}
