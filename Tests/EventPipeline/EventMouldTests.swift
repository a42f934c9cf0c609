// An event of a mould is the record that would have been written for it alone.
import Kafka
import Models
import Observability
import TestSupport
import Testing

@testable import EventPipeline

@Suite struct EventMouldTests {
    @Test func anEventOfAMouldIsTheOneThatWouldHaveBeenWritten() throws {
        var random = SeededRandom(seed: 3)
        let origin = EventOrigin(
            service: "reservation", tracer: Tracer(ratio: 1, metrics: Metrics()))
        let time = Timestamp(milliseconds: 1_764_244_800_123)
        func id<Kind>(_: Kind.Type = Kind.self) -> Identifier<Kind> {
            Identifier(high: random.next(), low: random.next())
        }
        let (sale, brand): (SaleID, BrandID) = (id(), id())
        func rejected(_ buyer: AccountID, _ order: OrderID) -> OrderRejected {
            OrderRejected(
                line: OrderLine(
                    orderId: order, saleId: sale, batch: 2, variant: "mi3-silver-16", buyerId: buyer, brandId: brand,
                    publisher: PublisherName("partner")), reason: .soldOut)
        }
        var outgoing = Outgoing(origin: origin)
        var encoder = EventEncoder(origin)
        var expected = RecordBatch()
        let mould = outgoing.mould(.reservations, "rejected", time: time, rejected)
        outgoing.reserve(20, of: mould)
        for number in 0..<20 {
            let (buyer, order): (AccountID, OrderID) = (id(), id())
            let cause = number % 3 == 0 ? nil : TraceContext.new(using: &random, isSampled: number % 2 == 0)
            outgoing.publish(mould, key: buyer, subject: order, cause: cause)
            encoder.append(
                rejected(buyer, order), .reservations, key: buyer.textBytes, id: Array("\(order)/rejected".utf8),
                time: time, cause: cause, to: &expected)
        }
        #expect(outgoing.records == expected)
        #expect(outgoing.published.counts.map(\.count) == [20])
        #expect(outgoing.spans.map(\.context) == encoder.spans.map(\.context))
    }
}
