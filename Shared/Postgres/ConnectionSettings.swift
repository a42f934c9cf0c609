// What a connection is made with: the DSN as libpq reads it, and what the pool adds.

/// The DSN, checked, with the pool's own defaults behind what it says itself.
struct ConnectionSettings: Sendable {
    let keywords: [String]
    let values: [String]
    let connectTimeout: Duration
    /// `host:port/database`, for the log. No user, no password.
    let target: String

    init(dsn: String, applicationName: String, options: PostgresOptions) throws(PostgresError) {
        let given = try DSN.forConnecting(dsn).values

        let hosts = (given["host"] ?? given["hostaddr"] ?? "").split(separator: ",").count
        let seconds = given["connect_timeout"].flatMap { Int($0) } ?? 10
        // 0 is libpq's word for no bound; there is one all the same.
        connectTimeout = .seconds((seconds <= 0 ? 120 : max(2, seconds)) * max(1, hosts))
        target =
            "\(given["host"] ?? given["hostaddr"] ?? "local"):\(given["port"] ?? "5432")/\(given["dbname"] ?? "")"

        // The DSN's own options come last, so they win.
        let serverOptions =
            (["statement_timeout=\(max(0, options.statementTimeoutSeconds))s"] + Self.serverForgetsTheDead
            + (options.findsByIndex ? Self.plansByIndex : [])).map { "-c \($0)" }
            + [given["options"]].compactMap { $0 }
        // What stands before "dbname" gives way to the DSN.
        keywords = [
            "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",
            "dbname", "fallback_application_name", "client_encoding", "options",
        ]
        values = ["10", "5", "3", "20000", dsn, applicationName, "UTF8", serverOptions.joined(separator: " ")]
    }

    /// A client that is frozen, or behind a network that fell silent, would keep its locks for two hours, and whoever takes
    /// its work over would wait for them.
    private static let serverForgetsTheDead = [
        "idle_in_transaction_session_timeout=10s", "client_connection_check_interval=5s", "tcp_keepalives_idle=10",
        "tcp_keepalives_interval=5", "tcp_keepalives_count=3", "tcp_user_timeout=20000",
    ]

    /// Without sequential scans no table is read as a whole where an index serves, and without hash and merge joins none
    /// is read to be joined with a few keys. A generic plan is made without looking at the parameters, so it is the same
    /// whenever it is made.
    private static let plansByIndex = [
        "plan_cache_mode=force_generic_plan", "enable_seqscan=off", "enable_hashjoin=off", "enable_mergejoin=off",
        "jit=off",
    ]
}

/// libpq ends its messages with a line break, and some have several lines.
func oneLine(_ text: String) -> String {
    text.split(whereSeparator: \.isNewline).map { $0.trimmed() }.joined(separator: "; ")
}

extension Substring {
    fileprivate func trimmed() -> String {
        String(self.drop { $0 == " " || $0 == "\t" })
    }
}
