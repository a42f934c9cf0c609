// What the audit reads of the schema.
import Models
import Postgres
import TestSupport
import Testing

@testable import ReservationCore

@Suite(.timeLimit(.minutes(2))) struct AuditViewTests {
    @Test func statesAreReadAsTheirWords() async throws {
        let service = try await TestService.start(ReservationService.self)
        let postgres = try service.database.pool("reservation")
        let states = OrderState.allCases
        try await postgres.execute(
            """
            INSERT INTO orders (order_id, sale_id, buyer_id, batch, variant, state, log_partition, log_offset,
                ordered_at)
            SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 1, 'mi3', state, 1, place, now()
            FROM unnest(\(states)) WITH ORDINALITY AS new (state, place)
            """)
        let words = try await postgres.query(
            "SELECT o.state FROM audit_orders o JOIN orders USING (order_id) ORDER BY log_offset")
        #expect(try words.column(0, as: String.self) == states.map { "\($0)" })
        await postgres.close()
        await service.stop()
    }
}
