// What is forgotten of what is over.
import Models
import Postgres
import TestSupport
import Testing

@testable import ReservationCore

extension StockKeeperTests {
    @Test func whatIsLongOverIsForgottenAndWhatWasSoldIsNot() async throws {
        let service = try await Service.start(ReservationService.self)
        let postgres = try service.database.pool("reservation")
        await service.stopService()
        try await postgres.execute(
            """
            INSERT INTO orders (order_id, sale_id, buyer_id, batch, variant, state, log_partition, log_offset,
                ordered_at)
            SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 1, 'mi3', state, 1, 1,
                now() - make_interval(days => days)
            FROM unnest(\([OrderState.confirmed, .released])) AS state, unnest(ARRAY[89, 91]) AS days
            """)
        try await postgres.execute(
            """
            INSERT INTO refusals (sale_id, batch, variant, log_partition, first_offset, last_offset, reason, order_ids,
                order_id_min, order_id_max, refused_at)
            SELECT gen_random_uuid(), 1, 'mi3', 1, 1, 1, 'soldOut', '', gen_random_uuid(), gen_random_uuid(),
                now() - make_interval(days => days)
            FROM unnest(ARRAY[89, 91]) AS days
            """)
        try await service.restart()
        try await until(postgres, "SELECT count(*) FROM refusals", is: 1)
        try await until(postgres, "SELECT count(*) FROM orders", is: 3)
        let sold = try await postgres.query(
            "SELECT count(*) FROM orders WHERE state = \(OrderState.confirmed)")
        #expect(try sold.column(0, as: Int64.self) == [2])
        await postgres.close()
        await service.stop()
    }
}
