// Orders that were refused, in runs, and whose memory of them is complete.
import Models
import Postgres

enum RefusalStatements {
    static func insert(_ refusals: [Refusal], partition: Int32) -> SQL {
        """
        INSERT INTO refusals (sale_id, batch, variant, log_partition, first_offset, last_offset, reason,
            order_ids, order_id_min, order_id_max)
        SELECT sale_id, batch, variant, \(partition), first_offset, last_offset, reason, order_ids, least, greatest
        FROM unnest(\(refusals.map(\.key.saleId)), \(refusals.map { Int32($0.key.batch) }),
            \(refusals.map(\.key.variant)), \(refusals.map(\.firstOffset)), \(refusals.map(\.lastOffset)),
            \(refusals.map(\.reason.rawValue)), \(refusals.map { PackedIdentifiers.pack($0.orderIds) }),
            \(refusals.map { $0.orderIds.min() }), \(refusals.map { $0.orderIds.max() }))
            AS k(sale_id, batch, variant, first_offset, last_offset, reason, order_ids, least, greatest)
        """
    }

    static let runRow = Columns("order_ids") { (bytes: [UInt8]) -> [OrderID] in PackedIdentifiers.unpack(bytes) }

    /// The runs of orders that a partition refused last, at least `RefusedMemory.countMin` orders if there are as many.
    static func last(of partition: Int32) -> SQL {
        let bytesMin = Int64(RefusedMemory.countMin * PackedIdentifiers.bytesEach)
        return """
            SELECT \(runRow) FROM (
                SELECT first_offset, order_ids, octet_length(order_ids) AS size,
                    sum(octet_length(order_ids)) OVER (ORDER BY first_offset DESC, sale_id, batch, variant) AS upto
                FROM (SELECT first_offset, sale_id, batch, variant, order_ids FROM refusals
                    WHERE log_partition = \(partition)
                    ORDER BY first_offset DESC LIMIT \(Int64(RefusedMemory.countMin))) AS last
            ) AS counted
            WHERE upto - size < \(bytesMin) ORDER BY first_offset
            """
    }

    /// Whose memory of a partition's refusals is complete, and the offset of the last of them.
    static let memoryRow = Columns("holder", "through") {
        (holder: Identifier<RefusedOrders>, through: Int64) in (holder: holder, through: through)
    }

    static func memory(of partition: Int32) -> SQL {
        "SELECT \(memoryRow) FROM refused_memory WHERE log_partition = \(partition)"
    }

    /// Notes whose memory of the partition's refusals is complete.
    static func hold(_ holder: Identifier<RefusedOrders>, _ partition: Int32, through: Int64) -> SQL {
        """
        INSERT INTO refused_memory (log_partition, holder, through) VALUES (\(partition), \(holder), \(through))
        ON CONFLICT (log_partition) DO UPDATE SET holder = excluded.holder, through = excluded.through
        """
    }
}
