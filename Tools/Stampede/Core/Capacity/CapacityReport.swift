// What a noon takes, for people and for programs.
import JSON

struct CapacityReport: Sendable {
    let plan: CapacityPlan

    var text: String {
        let demand = plan.demand
        var lines = [
            "\(demand.orders.grouped) orders in \(demand.minutes.grouped) min: "
                + "\(Int(demand.ordersPerSecond.rounded(.up)).grouped) a second; "
                + "\(demand.accounts.grouped) accounts, \(demand.connected.grouped) connected",
            "machines of \(demand.processors) processors, \(demand.busyPercent) % of them busy; "
                + "\(demand.copies) copies of every record",
            "",
        ]
        var programs = Table([("program", .left), ("processors", .right), ("instances", .right)])
        for one in plan.programs { programs.add([one.name, one.processors.fixed(1), one.instances.grouped]) }
        lines += [programs.text]
        if plan.streamInstances > 0 {
            lines.append(
                "Live streams alone need \(plan.streamInstances.grouped) of messaging and "
                    + "\((Double(demand.connected) * CapacityPlan.streamBytes).bytes) of memory.")
        }
        lines.append("")
        var schemas = Table([
            ("schema", .left), ("processors", .right), ("WAL/s", .right), ("accounts", .right), ("orders", .right),
            ("servers", .right),
        ])
        for one in plan.schemas {
            schemas.add([
                one.name, one.processors.fixed(1), one.walBytesPerSecond.bytes, one.accountBytes.bytes,
                one.orderBytes.bytes, one.servers == 0 ? "shared" : one.servers.grouped,
            ])
        }
        lines += [schemas.text, "Postgres: \(plan.servers.grouped) \(plan.servers == 1 ? "server" : "servers")."]
        for one in plan.schemas where one.servers > 1 {
            lines.append("  \(one.name) is divided among \(one.servers.grouped): docs/scale.md says by what.")
        }
        lines.append("")
        var topics = Table([("topic", .left), ("written/s", .right), ("kept", .right)])
        for one in plan.topics { topics.add([one.name, one.bytesPerSecond.bytes, one.bytesKept.bytes]) }
        lines += [
            topics.text,
            "Kafka: \(plan.brokers.grouped) brokers, \(plan.partitions.grouped) partitions of the topics that scale.",
        ]
        return lines.joined(separator: "\n")
    }

    var json: [UInt8] {
        JSONWriter.object { writer in
            writer.field("orders", plan.demand.orders)
            writer.field("ordersPerSecond", Int(plan.demand.ordersPerSecond.rounded(.up)))
            writer.field("partitions", plan.partitions)
            writer.field("brokers", plan.brokers)
            writer.field("databaseServers", plan.servers)
            writer.field("streamInstances", plan.streamInstances)
            writer.name("programs")
            writer.array {
                for one in plan.programs {
                    $0.object {
                        $0.field("name", one.name)
                        $0.field("milliprocessors", Int((one.processors * 1000).rounded(.up)))
                        $0.field("instances", one.instances)
                    }
                }
            }
            writer.name("schemas")
            writer.array {
                for one in plan.schemas {
                    $0.object {
                        $0.field("name", one.name)
                        $0.field("milliprocessors", Int((one.processors * 1000).rounded(.up)))
                        $0.field("walBytesPerSecond", Int(one.walBytesPerSecond.rounded(.up)))
                        $0.field("bytes", Int((one.accountBytes + one.orderBytes).rounded(.up)))
                        $0.field("servers", one.servers)
                    }
                }
            }
            writer.name("topics")
            writer.array {
                for one in plan.topics {
                    $0.object {
                        $0.field("name", one.name)
                        $0.field("bytesPerSecond", Int(one.bytesPerSecond.rounded(.up)))
                        $0.field("bytesKept", Int(one.bytesKept.rounded(.up)))
                    }
                }
            }
        }
    }
}

extension Double {
    /// A number of bytes with its decimal unit: `1.9 kB`.
    var bytes: String {
        var (value, unit) = (self, "B")
        for next in ["kB", "MB", "GB", "TB", "PB"] where value >= 999.5 { (value, unit) = (value / 1000, next) }
        return "\(value.fixed(unit == "B" || value >= 99.95 ? 0 : 1)) \(unit)"
    }
}
