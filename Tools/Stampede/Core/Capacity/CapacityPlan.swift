// What a noon of a given size takes, from what one order costs: arithmetic alone.

/// What is asked.
struct CapacityDemand: Sendable {
    var orders: Int
    var minutes: Int
    var accounts: Int
    /// People with an open live stream.
    var connected: Int
    /// Processors of one machine.
    var processors: Int
    /// How much of a processor may be used at the peak, in percent.
    var busyPercent: Int
    /// Copies of every record that Kafka keeps.
    var copies: Int

    var ordersPerSecond: Double { Double(orders) / Double(minutes * 60) }
}

/// What it takes. Rates are those of the peak.
struct CapacityPlan: Sendable {
    /// A program that runs as often as is needed.
    struct Program: Sendable {
        let name: String
        /// Kept busy as far as they may be.
        let processors: Double
        let instances: Int
    }

    /// A schema of Postgres, which can have a server of its own and be divided among several.
    struct Schema: Sendable {
        let name: String
        let processors: Double
        let walBytesPerSecond: Double
        let accountBytes: Double
        let orderBytes: Double
        /// Servers that share it; 0: it shares one with others.
        let servers: Int
    }

    struct TopicUse: Sendable {
        let name: String
        let bytesPerSecond: Double
        /// What the noon leaves, and the accounts, copies included.
        let bytesKept: Double
    }

    let demand: CapacityDemand
    let programs: [Program]
    let schemas: [Schema]
    let topics: [TopicUse]
    let partitions: Int
    let brokers: Int
    /// Streams of an instance of messaging are bounded: so many it takes for them alone.
    let streamInstances: Int

    /// What one partition decides a second, half of what was measured: a partition is decided by one task, whose batches
    /// wait for the disk.
    static let partitionOrdersPerSecondMax = 10_000.0
    /// What one server of Postgres writes to its log a second, by a usual disk of its own.
    static let walBytesPerSecondMax = 200e6
    /// What one broker takes from producers and other brokers a second, by a network of 10 Gbit/s and usual disks.
    static let brokerBytesPerSecondMax = 250e6
    /// As `HTTPServerConfiguration.streamsMax`.
    static let streamsOfAnInstance = 15_000
    /// Bytes that an idle stream keeps: the service's side and the gateway's.
    static let streamBytes = 19_000.0

    init(_ demand: CapacityDemand, _ costs: Costs) {
        self.demand = demand
        let rate = demand.ordersPerSecond
        let usable = Double(demand.processors) * Double(demand.busyPercent) / 100
        func processors(_ microseconds: Double) -> Double { microseconds * rate / 1e6 }
        func machines(_ processors: Double) -> Int { max(1, Int((processors / usable).rounded(.up))) }

        let fixed: Set = [Costs.database, Costs.log, Costs.generator]
        programs = costs.order.processorMicroseconds.filter { !fixed.contains($0.key) }.map {
            Program(name: $0.key, processors: processors($0.value), instances: machines(processors($0.value)))
        }.sorted { ($1.processors, $0.name) < ($0.processors, $1.name) }

        let names = Set(costs.order.walBytes.keys).union(costs.account.rowBytes.keys).sorted()
        let loads = names.map { name in
            (
                name: name, processors: processors(costs.databaseMicroseconds(of: name)),
                wal: (costs.order.walBytes[name] ?? 0) * rate
            )
        }
        func servers(_ processors: Double, _ wal: Double) -> Int {
            max(machines(processors), Int((wal / Self.walBytesPerSecondMax).rounded(.up)))
        }
        // One server for all as long as it can be: then there is one thing to look after. Beyond that, who takes most of
        // it has its own, and the rest is asked again.
        var shared = loads.sorted {
            max($0.processors / usable, $0.wal / Self.walBytesPerSecondMax)
                < max($1.processors / usable, $1.wal / Self.walBytesPerSecondMax)
        }
        var own: [String: Int] = [:]
        while shared.count > 0, servers(shared.map(\.processors).reduce(0, +), shared.map(\.wal).reduce(0, +)) > 1,
            let most = shared.popLast()
        { own[most.name] = servers(most.processors, most.wal) }
        schemas = loads.map { load in
            Schema(
                name: load.name, processors: load.processors, walBytesPerSecond: load.wal,
                accountBytes: (costs.account.rowBytes[load.name] ?? 0) * Double(demand.accounts),
                orderBytes: (costs.order.rowBytes[load.name] ?? 0) * Double(demand.orders),
                servers: own[load.name] ?? 0)
        }.sorted { ($1.processors, $0.name) < ($0.processors, $1.name) }

        topics = Set(costs.order.topicBytes.keys).union(costs.account.topicBytes.keys).map { name in
            let order = costs.order.topicBytes[name] ?? 0
            return TopicUse(
                name: name, bytesPerSecond: order * rate,
                bytesKept: (order * Double(demand.orders)
                    + (costs.account.topicBytes[name] ?? 0) * Double(demand.accounts)) * Double(demand.copies))
        }.sorted { ($1.bytesPerSecond, $0.name) < ($0.bytesPerSecond, $1.name) }

        let deciders = programs.first { $0.name == Costs.deciding }?.instances ?? 1
        partitions = max(12, deciders, Int((rate / Self.partitionOrdersPerSecondMax).rounded(.up)))
        let written = topics.map(\.bytesPerSecond).reduce(0, +) * Double(demand.copies)
        let logProcessors = processors(costs.order.processorMicroseconds[Costs.log] ?? 0) * Double(demand.copies)
        brokers = max(
            demand.copies, machines(logProcessors), Int((written / Self.brokerBytesPerSecondMax).rounded(.up)))
        streamInstances = (demand.connected + Self.streamsOfAnInstance - 1) / Self.streamsOfAnInstance
    }

    /// Servers of Postgres: those of schemas with their own, and one for the others.
    var servers: Int {
        schemas.map(\.servers).reduce(0, +) + (schemas.contains { $0.servers == 0 } ? 1 : 0)
    }
}
