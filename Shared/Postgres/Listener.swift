// LISTEN: being woken by another session's NOTIFY instead of asking again and again.
import Runtime

/// Hears one channel until it is closed, or its pool is. It has a connection of its own, beside the pool's
/// `connectionsMax`, that is made anew, with growing pauses, whenever it is lost.
public final class PostgresListener: Sendable {
    private let id: Int
    private let pool: ConnectionPool

    init(id: Int, pool: ConnectionPool) {
        self.id = id
        self.pool = pool
    }

    deinit {
        pool.loop.execute { [pool, id] in pool.assumeIsolated { $0.stopListening(id) } }
    }

    /// Ends the connection. Nobody is woken any more once this has returned.
    public func close() async {
        await pool.call { [id] pool, _, done in
            pool.stopListening(id)
            done(())
        }
    }
}

extension PostgresPool {
    /// Calls `onNotify` whenever a transaction that notified the channel (`SELECT pg_notify(…)`) has committed, and each
    /// time the connection has been made, because something may have been missed before: whoever is woken looks what
    /// there is to do. Notifications that arrive together wake once.
    ///
    /// - Parameters:
    ///   - channel: any name of 1 to 63 bytes, as given to `pg_notify`. Channels belong to the database, not to a schema.
    ///   - onNotify: called on the pool's thread; it must return at once.
    public func listen(_ channel: String, onNotify: @escaping @Sendable () -> Void) -> PostgresListener {
        precondition((1...63).contains(channel.utf8.count), "a channel's name has 1 to 63 bytes: \(channel)")
        let id = newID()
        core.loop.execute { [core] in
            core.assumeIsolated { $0.startListening(id, channel: channel, onNotify: onNotify) }
        }
        return PostgresListener(id: id, pool: core)
    }
}

/// What the pool keeps of a listener.
final class ListenerState {
    let listen: SQL
    let onNotify: @Sendable () -> Void
    var connection: Connection?
    /// Attempts since the channel was last heard.
    var failures = 0
    var timer: Int?

    /// What the one timer is for.
    enum Alarm {
        case connectTimeout
        case reconnect
        /// Asks something, because a network that swallows what is sent would be taken for a channel without news.
        case probe
    }

    init(channel: String, onNotify: @escaping @Sendable () -> Void) {
        listen = "LISTEN \(identifier: channel)"
        self.onNotify = onNotify
    }
}

extension ConnectionPool {
    private static let probe: SQL = "SELECT 1"

    func startListening(_ id: Int, channel: String, onNotify: @escaping @Sendable () -> Void) {
        guard !isClosing else { return }
        let listener = ListenerState(channel: channel, onNotify: onNotify)
        listeners[id] = listener
        connect(listener, id)
    }

    func stopListening(_ id: Int) {
        guard let listener = listeners.removeValue(forKey: id) else { return }
        drop(listener)
    }

    func stopListening() {
        for listener in listeners.values { drop(listener) }
        listeners = [:]
    }

    private func connect(_ listener: ListenerState, _ id: Int) {
        do throws(PostgresError) {
            let connection = try Connection(
                id: id, settings: settings, statementsMax: 2, loop: loop, metrics: metrics, log: log)
            connection.onNotify = listener.onNotify
            listener.connection = connection
            watch(connection, of: id)
            set(.connectTimeout, of: listener, id, after: settings.connectTimeout)
        } catch {
            lost(listener, id, error)
        }
    }

    private func watch(_ connection: Connection, of id: Int) {
        connection.socketToken = loop.add(socket: connection.descriptor, connection.connectInterest) {
            [weak self] readiness in
            self?.assumeIsolated { $0.listenerReady(id, readiness) }
        }
    }

    private func listenerReady(_ id: Int, _ readiness: EventLoop.Readiness) {
        guard let listener = listeners[id], let connection = listener.connection else { return }
        if connection.isConnecting {
            if let token = connection.socketToken { loop.remove(socket: token) }
            connection.socketToken = nil
            connection.advanceConnecting()
            if connection.failure == nil { watch(connection, of: id) }
            if connection.isUp { subscribe(listener, id, connection) }
        } else {
            connection.socketReady(readiness)
        }
        settle(listener, id)
    }

    private func subscribe(_ listener: ListenerState, _ id: Int, _ connection: Connection) {
        set(.probe, of: listener, id, after: probePause)
        connection.submit([listener.listen], startsTransaction: true, commits: false) {
            [weak self, weak connection] result in
            switch result {
            case .failure(let error): connection?.fail(error)
            case .success:
                listener.failures = 0
                self?.assumeIsolated { $0.hasToldOfLoss = false }
                listener.onNotify()
            }
        }
    }

    private var probePause: Duration { max(options.silenceMax / 2, .milliseconds(50)) }

    private func set(_ alarm: ListenerState.Alarm, of listener: ListenerState, _ id: Int, after delay: Duration) {
        if let timer = listener.timer { loop.cancel(timer: timer) }
        listener.timer = loop.addTimer(after: delay) { [weak self] in
            self?.assumeIsolated { $0.ring(alarm, id) }
        }
    }

    private func ring(_ alarm: ListenerState.Alarm, _ id: Int) {
        guard let listener = listeners[id] else { return }
        listener.timer = nil
        switch alarm {
        case .connectTimeout:
            listener.connection?.failConnecting(
                "no connection to \(settings.target) within \(settings.connectTimeout)")
        case .reconnect: connect(listener, id)
        case .probe:
            guard let connection = listener.connection else { return }
            connection.failIfSilent(for: options.silenceMax)
            if connection.isUp {
                if !connection.isListening {
                    connection.submit([Self.probe], startsTransaction: true, commits: false) { _ in }
                }
                set(.probe, of: listener, id, after: probePause)
            }
        }
        settle(listener, id)
    }

    /// Looks whether the connection failed in what was just done, and makes another.
    private func settle(_ listener: ListenerState, _ id: Int) {
        if let error = listener.connection?.failure { lost(listener, id, error) }
    }

    private func lost(_ listener: ListenerState, _ id: Int, _ error: PostgresError) {
        drop(listener)
        if listener.failures == 0 { tellOfLoss(error) }
        listener.failures += 1
        set(.reconnect, of: listener, id, after: options.reconnectPause(afterFailures: listener.failures))
    }

    private func drop(_ listener: ListenerState) {
        if let token = listener.connection?.socketToken { loop.remove(socket: token) }
        listener.connection = nil
        if let timer = listener.timer { loop.cancel(timer: timer) }
        listener.timer = nil
    }
}
