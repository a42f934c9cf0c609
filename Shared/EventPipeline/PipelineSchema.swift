// The tables that exactly-once processing keeps in each service's own schema.
import Postgres

public enum PipelineSchema {
    /// Goes first in a service's list of migrations.
    public static let migration = Migration(number: 0, name: "event_pipeline", sql: sql)

    /// What commands publish, in the order of their commits. Goes into the list of every service that has a `Relay`.
    /// - Parameter number: the next in the service's list.
    public static func commands(number: Int) -> Migration {
        Migration(number: number, name: "event_pipeline_commands", sql: commandsSQL)
    }

    /// What the audit reads of every service: how much is under way. The tables are the pipeline's own.
    /// - Parameter number: the next in the service's list.
    public static func auditViews(number: Int) -> Migration {
        Migration(
            number: number, name: "event_pipeline_audit_views",
            sql: """
                -- Batches that Kafka has not acknowledged.
                CREATE VIEW audit_unpublished AS SELECT cluster_id, stream, sequence FROM outbox;

                -- How far each partition has been processed.
                CREATE VIEW audit_positions AS
                SELECT cluster_id, processor, topic, partition, next_offset FROM consumer_offsets;
                """)
    }

    /// The outbox stream of commands; its rows are numbered by `outbox_commands`.
    static let commandStream = "commands"

    /// SQLSTATE that `advance_offset` raises when another instance has moved the offset: this batch is not ours.
    static let supersededState = "ST001"

    /// Where a partition's next offset stands before anything of it was processed.
    static let beginning: Int64 = -1

    /// Takes rows out of the outbox. The bounds say what the numbers say already: a plan that does not look for each number
    /// would read all entries of the stream in the index, those of rows long gone too.
    static func forget(_ rows: [Int64], of stream: String) -> SQL {
        """
        DELETE FROM outbox WHERE stream = \(stream) AND sequence = ANY(\(rows))
            AND sequence >= \(rows.min() ?? 0) AND sequence <= \(rows.max() ?? -1)
        """
    }

    private static let sql = """
        -- The next offset of each partition that a processor has not applied yet, -1 before the first. Written in the
        -- transaction that applies the events, so the two cannot differ.
        CREATE TABLE consumer_offsets (
            processor text NOT NULL,
            topic text NOT NULL,
            partition integer NOT NULL,
            -- A broker that starts empty has a new cluster ID: offsets of another one mean nothing.
            cluster_id text NOT NULL,
            next_offset bigint NOT NULL,
            PRIMARY KEY (processor, topic, partition)
        ) WITH (fillfactor = 50);

        -- Records that a committed transaction owes to Kafka; a row goes when all of it is acknowledged.
        CREATE TABLE outbox (
            -- 'processor/topic/partition', or 'relay/instance' for commands that came by HTTP.
            stream text NOT NULL,
            -- The first offset of the batch, or a running number: the order within the stream.
            sequence bigint NOT NULL,
            cluster_id text NOT NULL,
            -- Packed records, ready to send.
            records bytea NOT NULL,
            -- What the rest is a pure function of, together with the input from `sequence` to `next_offset`.
            recipe bytea,
            next_offset bigint,
            created_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (stream, sequence)
        );
        -- Not worth the time to compress: a row lives for milliseconds.
        ALTER TABLE outbox ALTER COLUMN records SET STORAGE EXTERNAL, ALTER COLUMN recipe SET STORAGE EXTERNAL;

        -- The next offset of a partition for whoever takes it over; of another cluster it starts anew.
        CREATE FUNCTION claim_partition(p text, t text, n integer, c text) RETURNS bigint LANGUAGE sql AS $$
            INSERT INTO consumer_offsets AS o VALUES (p, t, n, c, -1)
            ON CONFLICT (processor, topic, partition) DO UPDATE SET
                cluster_id = c,
                next_offset = CASE WHEN o.cluster_id = c THEN o.next_offset ELSE -1 END
            RETURNING next_offset
        $$;

        -- Moves a partition's offset, or fails when it does not stand where this instance left it.
        CREATE FUNCTION advance_offset(p text, t text, n integer, c text, expected bigint, next bigint)
        RETURNS void LANGUAGE plpgsql AS $$
        BEGIN
            UPDATE consumer_offsets SET next_offset = next
            WHERE processor = p AND topic = t AND partition = n AND cluster_id = c AND next_offset = expected;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'partition % of % has moved on without this instance of %', n, t, p
                    USING ERRCODE = 'ST001';
            END IF;
        END
        $$;
        """

    private static let commandsSQL = """
        -- The order of commands in the outbox. A transaction takes its number behind all its locks: two that change the same
        -- thing are numbered in the order of their commits.
        CREATE SEQUENCE outbox_commands;

        -- Who publishes what commands leave in the outbox. A lease, so that nobody does when its holder is gone.
        CREATE TABLE publishers (
            name text PRIMARY KEY,
            holder text NOT NULL,
            expires_at timestamptz NOT NULL
        ) WITH (fillfactor = 50);

        -- Takes the lease where it is free, keeps it where it is the caller's; whether the caller has it. An end that lies
        -- further ahead than any lease was given for comes from a clock that was put back.
        CREATE FUNCTION hold_publisher(n text, h text, seconds integer) RETURNS boolean LANGUAGE plpgsql AS $$
        DECLARE
            present timestamptz := clock_timestamp();
            term interval := make_interval(secs => seconds);
        BEGIN
            PERFORM FROM publishers
            WHERE name = n AND holder = h AND expires_at BETWEEN present + term / 2 AND present + term;
            IF FOUND THEN RETURN true; END IF;
            INSERT INTO publishers AS p VALUES (n, h, present + term)
            ON CONFLICT (name) DO UPDATE SET holder = h, expires_at = present + term
            WHERE p.holder = h OR p.expires_at NOT BETWEEN present AND present + term;
            RETURN FOUND;
        END
        $$;
        """
}
