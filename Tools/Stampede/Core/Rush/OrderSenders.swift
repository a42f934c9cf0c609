// Noon: every order leaves, over HTTP through the gateway or straight to Kafka.
import EventPipeline
import Foundation
import HTTP
import JSON
import Kafka
import Models
import Observability
import Security

/// Orders by HTTP, as phones send them.
struct HTTPOrders: Sendable {
    let plan: RushPlan
    let market: Market
    let address: String
    let port: UInt16

    func send(into journal: Journal) async throws {
        let client = BurstClient(
            .init(
                address: address, port: port, connections: plan.connections, threads: plan.threads,
                attemptsMax: plan.attemptsMax, rate: plan.rate))
        let host = "\(address):\(port)"
        let tokens = market.tokens
        let tail = JSONWriter.object {
            $0.field("saleId", market.sale)
            $0.field("batch", 1)
            $0.field("variant", RushPlan.variant)
        }.dropFirst()
        let clientOrderPrefix = market.sale.description
        try await client.run(count: plan.orders) { order, request in
            let body = Array("{\"clientOrderId\":\"\(clientOrderPrefix)-\(order)\",".utf8) + tail
            request.append(contentsOf: "POST /v1/orders HTTP/1.1\r\nHost: \(host)\r\nAuthorization: Bearer ".utf8)
            request.append(contentsOf: tokens[order])
            request.append(
                contentsOf: "\r\nContent-Type: application/json\r\nContent-Length: \(body.count)\r\n\r\n".utf8)
            request.append(contentsOf: body)
        } answered: { answers in
            journal.record(
                answers.map { answer in
                    Journal.Sent(
                        order: answer.request, sentAt: Timestamp(microseconds: answer.sentAt),
                        answeredAt: Timestamp(microseconds: answer.answeredAt),
                        refusal: answer.status == 202 ? nil : answer.status)
                })
        }
    }
}

/// Orders published straight to the topic, as another system would.
struct KafkaOrders: Sendable {
    let plan: RushPlan
    let market: Market
    let kafka: KafkaConfiguration
    /// Proves who publishes; nil: nobody does.
    let signer: PublisherKey?
    /// Whose lag bounds what is published, where that is bounded.
    var readers = ConsumerGroups.ofOrders
    /// Orders are for these in turn; empty: for the market's one sale.
    var sales: [SaleID] = []

    private static let batchMax = 5000
    func send(into journal: Journal) async throws {
        let producer = try KafkaProducer(
            kafka, log: Logger(service: "stampede-rush", level: .warning), metrics: Metrics(), queueBytesMax: 64 << 20,
            giveUpSeconds: 30)
        let room = try plan.inFlightMax.map { try Room(kafka, readers: readers, recordsMax: $0) }
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                var running = 0
                for start in stride(from: 0, to: plan.orders, by: Self.batchMax) {
                    // Two batches at a time: one is encoded while the other waits for the broker.
                    if running == 2 {
                        try await group.next()
                        running -= 1
                    }
                    try await room?.wait(published: start)
                    let orders = start..<min(plan.orders, start + Self.batchMax)
                    let batch = encode(orders)
                    group.addTask {
                        let sentAt = WallClock.now()
                        try await producer.send(batch)
                        let acceptedAt = WallClock.now()
                        journal.record(orders.map { Journal.Sent(order: $0, sentAt: sentAt, answeredAt: acceptedAt) })
                    }
                    running += 1
                }
                try await group.waitForAll()
            }
        } catch {
            await producer.close(timeoutSeconds: 5)
            throw error
        }
        await producer.close(timeoutSeconds: 30)
    }

    private func encode(_ orders: Range<Int>) -> RecordBatch {
        var batch = RecordBatch()
        batch.reserveCapacity(bytes: orders.count * 512)
        var writer = JSONWriter()
        var encoder = CloudEventEncoder(source: "/stampede/rush")
        let now = WallClock.now()
        var random = SystemRandomNumberGenerator()
        for order in orders {
            let id = OrderID.v7(at: now, random: (random.next(), random.next()))
            let sale = sales.isEmpty ? market.sale : sales[order % sales.count]
            writer.clear()
            OrderPlaced(
                orderId: id, saleId: sale, batch: 1, variant: RushPlan.variant, buyerId: market.buyers.ids[order]
            ).write(to: &writer)
            encoder.append(
                type: OrderPlaced.type, topic: Topic.orders.name, key: market.buyers.ids[order].textBytes,
                id: id.textBytes, value: writer.bytes, time: now, signedBy: signer, to: &batch)
        }
        return batch
    }
}

/// Keeps a publisher from outrunning the services on a broker that forgets: the embedded one holds the last 100,000
/// records or 5 MB of a partition.
final class Room: Sendable {
    private let admin: KafkaAdmin
    private let readers: [ConsumerGroups.Reader]
    private let recordsMax: Int

    init(_ kafka: KafkaConfiguration, readers: [ConsumerGroups.Reader], recordsMax: Int) throws {
        admin = try KafkaAdmin(kafka)
        self.readers = readers
        self.recordsMax = recordsMax
    }

    /// Returns when no service has more than the bound still to read.
    func wait(published: Int) async throws {
        guard published % (recordsMax / 4 / 5000 * 5000 + 5000) == 0 else { return }
        while true {
            var most: Int64 = 0
            for reader in readers {
                let lag = try await admin.lag(group: reader.group, topics: [reader.topic])
                most = max(most, lag.values.reduce(0, +))
            }
            if most < Int64(recordsMax) { return }
            try await Task.sleep(for: .milliseconds(20))
        }
    }
}
