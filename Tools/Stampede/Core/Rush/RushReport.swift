// What a rush measured, as a table for people and as JSON.
import JSON
import Models

struct RushReport: Sendable {
    let plan: RushPlan
    let sale: SaleID
    let counts: Journal.Counts
    let times: Journal.Times
    let noon: Timestamp
    let processes: [ProcessMeter.Use]
    let isComplete: Bool
    /// From noon to the last event that belonged to it.
    let totalSeconds: Double

    private struct Row {
        let title: String
        let name: StaticString
        let quantiles: Quantiles
    }

    private var rows: [Row] {
        [
            ("order → accepted", "orderToAccepted", times.orderToAccepted),
            ("order → refused (come again)", "orderToRefused", times.orderToRefused),
            ("order → decision", "orderToDecision", times.orderToDecision),
            ("order → told (message in the chat)", "orderToTold", times.orderToTold),
            ("order → told the last (paid)", "orderToToldLast", times.orderToLastTold),
            ("order → seen on an open phone", "orderToPhone", times.orderToPhone),
        ].compactMap { (title: String, name: StaticString, values: [UInt32]) in
            Quantiles(values).map { Row(title: title, name: name, quantiles: $0) }
        }
    }

    private func rate(_ count: Int, until last: UInt32) -> Double {
        let microseconds = last > times.firstSent ? last - times.firstSent : 0
        return microseconds == 0 ? 0 : Double(count) / (Double(microseconds) / 1e6)
    }

    private var soldOutSeconds: Double? { counts.soldOutAt.map { ($0 - noon).seconds } }

    var text: String {
        var lines: [String] = []
        lines.append(
            "\(counts.accepted.grouped) orders for \(plan.units.grouped) phones, by \(plan.via.rawValue)"
                + (isComplete ? "" : ": NOT COMPLETE after \(totalSeconds.fixed(1)) s"))
        lines.append("")
        func fact(_ title: String, _ value: String) { lines.append("  \(title.padded(to: 22))\(value)") }
        fact("orders accepted", "\(Int(rate(counts.accepted, until: times.lastAccepted)).grouped)/s")
        fact("orders decided", "\(Int(rate(counts.decided, until: times.lastDecided)).grouped)/s")
        fact("sold out", soldOutSeconds.map { "\($0.fixed(2)) s after noon" } ?? "no")
        fact(
            "last one told", times.lastTold == 0 ? "nobody" : "\((Double(times.lastTold) / 1e6).fixed(2)) s after noon")
        fact(
            "outcome",
            "\(counts.reserved.grouped) reserved, \(counts.waitlisted.grouped) waitlisted "
                + "(\(counts.promoted.grouped) promoted), \(counts.rejected.grouped) rejected")
        fact(
            "money",
            "\(counts.captured.grouped) paid, \(counts.released.grouped) released, \(counts.refunded.grouped) refunded")
        fact("messages", "\(counts.told.grouped) to buyers, \(counts.posts.grouped) post to all")
        if counts.refused > 0 {
            let by = counts.refusedByStatus.sorted { $0.key < $1.key }.map { "\($0.value) × \($0.key)" }
            fact("refused", "\(counts.refused.grouped) (\(by.joined(separator: ", ")))")
        }
        if counts.decidedTwice > 0 { fact("decided twice", counts.decidedTwice.grouped) }
        lines += ["", latencyTable, "", processTable]
        return lines.joined(separator: "\n")
    }

    private var latencyTable: String {
        var table = Table([
            ("milliseconds", .left), ("orders", .right), ("p50", .right), ("p90", .right), ("p99", .right),
            ("p99.9", .right),
            ("most", .right), ("p99", .left),
        ])
        let most = Double(rows.map(\.quantiles.p99).max() ?? 0)
        for row in rows {
            func milliseconds(_ value: UInt32) -> String { Int((Double(value) / 1000).rounded()).grouped }
            let quantiles = row.quantiles
            table.add([
                row.title, quantiles.count.grouped, milliseconds(quantiles.p50), milliseconds(quantiles.p90),
                milliseconds(quantiles.p99), milliseconds(quantiles.p999), milliseconds(quantiles.most),
                bar(Double(quantiles.p99), of: most),
            ])
        }
        return table.text
    }

    private var processTable: String {
        var table = Table([("program", .left), ("CPU s", .right), ("", .left), ("memory MB", .right), ("", .left)])
        let mostSeconds = processes.map(\.processorSeconds).max() ?? 0
        let mostBytes = Double(processes.map(\.memoryPeakBytes).max() ?? 0)
        for use in processes {
            table.add([
                use.name, use.processorSeconds.fixed(2), bar(use.processorSeconds, of: mostSeconds, width: 12),
                "\(use.memoryPeakBytes >> 20)", bar(Double(use.memoryPeakBytes), of: mostBytes, width: 12),
            ])
        }
        return table.text
    }

    var json: [UInt8] {
        JSONWriter.object { writer in
            writer.field("saleId", sale)
            writer.field("complete", isComplete)
            writer.field("orders", plan.orders)
            writer.field("units", plan.units)
            writer.field("via", plan.via.rawValue)
            writer.field("accepted", counts.accepted)
            writer.field("refused", counts.refused)
            writer.name("refusedByStatus")
            writer.object {
                for (status, count) in counts.refusedByStatus.sorted(by: { $0.key < $1.key }) {
                    $0.name(escaping: "\(status)")
                    $0.value(Int64(count))
                }
            }
            writer.field("acceptedPerSecond", Int(rate(counts.accepted, until: times.lastAccepted)))
            writer.field("decidedPerSecond", Int(rate(counts.decided, until: times.lastDecided)))
            writer.field("soldOutMilliseconds", optional: soldOutSeconds.map { Int(($0 * 1000).rounded()) })
            writer.field("lastToldMilliseconds", Int(times.lastTold / 1000))
            writer.name("counts")
            writer.object {
                $0.field("reserved", counts.reserved)
                $0.field("waitlisted", counts.waitlisted)
                $0.field("rejected", counts.rejected)
                $0.field("decidedTwice", counts.decidedTwice)
                $0.field("promoted", counts.promoted)
                $0.field("captured", counts.captured)
                $0.field("paymentFailed", counts.paymentFailed)
                $0.field("released", counts.released)
                $0.field("refunded", counts.refunded)
                $0.field("notified", counts.notified)
                $0.field("told", counts.told)
                $0.field("posts", counts.posts)
                $0.field("listenersLost", counts.listenersLost)
            }
            writer.name("microseconds")
            writer.object { writer in
                for row in rows {
                    writer.name(row.name)
                    writer.object {
                        $0.field("count", row.quantiles.count)
                        $0.field("p50", Int(row.quantiles.p50))
                        $0.field("p90", Int(row.quantiles.p90))
                        $0.field("p99", Int(row.quantiles.p99))
                        $0.field("p999", Int(row.quantiles.p999))
                        $0.field("most", Int(row.quantiles.most))
                    }
                }
            }
            writer.name("processes")
            writer.array {
                for use in processes {
                    $0.object {
                        $0.field("name", use.name)
                        $0.field("processorMilliseconds", Int((use.processorSeconds * 1000).rounded()))
                        $0.field("memoryPeakBytes", use.memoryPeakBytes)
                    }
                }
            }
        }
    }
}
