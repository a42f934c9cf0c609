// Notifications: who listens is woken, whatever happens to the server in between.
import Observability
import Postgres
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(1))) struct ListenerTests {
    /// Each wake-up is an element.
    private func listen(_ pool: PostgresPool, _ channel: String) -> (PostgresListener, AsyncStream<Void>.Iterator) {
        let (wakes, continuation) = AsyncStream<Void>.makeStream()
        return (pool.listen(channel) { continuation.yield() }, wakes.makeAsyncIterator())
    }

    @Test func aNotificationWakesWhoeverListensToItsChannelWhateverItsName() async throws {
        let pool = try await Fixture.pool(connectionsMax: 1)
        let odd = "Out\"box; DROP TABLE x.y é"
        var (listener, wakes) = listen(pool, odd)
        let (other, _) = listen(pool, "another")
        _ = await wakes.next()
        for _ in 0..<3 {
            // The pool's only connection is free for others.
            try await pool.execute("SELECT pg_notify(\(odd), '')")
            _ = await wakes.next()
        }
        await listener.close()
        await other.close()
        await pool.close()
    }

    @Test func aRestartOfTheServerIsSurvivedAndWakesBecauseSomethingMayHaveBeenMissed() async throws {
        let server = try await TestPostgres.start()
        let database = try await server.database(schemas: ["tester"])
        let pool = try database.pool("tester", connectionsMax: 1)
        var (listener, wakes) = listen(pool, "orders")
        _ = await wakes.next()
        try await server.kill()
        try await server.restart()
        _ = await wakes.next()
        try await pool.execute("SELECT pg_notify('orders', '')")
        _ = await wakes.next()
        await listener.close()
        await pool.close()
    }

    @Test func aNetworkThatFallsSilentIsFoundOutAndLeftBehind() async throws {
        let database = try await Fixture.database()
        let proxy = try FaultProxy(to: database.server.port)
        defer { proxy.close() }
        let dsn = database.dsn("tester").replacing(":\(database.server.port)/", with: ":\(proxy.port)/")
        var options = TestDatabase.patientOptions
        options.silenceMax = .milliseconds(500)
        let pool = try Fixture.pool(dsn: dsn, options: options)
        var (listener, wakes) = listen(pool, "orders")
        _ = await wakes.next()
        proxy.set(.silent)
        let quiet = try database.pool("tester")
        // Nobody hears this one; the new connection makes up for it.
        try await quiet.execute("SELECT pg_notify('orders', '')")
        proxy.set(.none)
        _ = await wakes.next()
        await listener.close()
        await quiet.close()
        await pool.close()
    }

    @Test func aListenerThatIsClosedOrForgottenEndsItsConnection() async throws {
        let database = try await Fixture.database()
        let pool = try Fixture.pool(dsn: database.dsn("tester") + "?application_name=listening")
        let administrator = try Fixture.pool(dsn: database.administratorDSN)
        func sessions() async throws -> Int64 {
            try await administrator.query(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'listening'"
            ).one()
        }
        var (listener, wakes) = listen(pool, "orders")
        _ = await wakes.next()
        #expect(try await sessions() == 1)
        await listener.close()
        while try await sessions() > 0 {}
        do {
            var (forgotten, more) = listen(pool, "orders")
            _ = await more.next()
            _ = consume forgotten
        }
        while try await sessions() > 0 {}
        // With the pool goes what still listens.
        var (left, last) = listen(pool, "orders")
        _ = await last.next()
        await pool.close()
        while try await sessions() > 0 {}
        await left.close()
        await administrator.close()
    }
}
