-- Staged rows that say something new become history; how many of each partition.
-- Ordered, so that of two equal messages in one batch the first offset stays.
WITH stored AS (
    INSERT INTO {history} ({columns})
    SELECT {columns} FROM ({query}) AS q
    ORDER BY partition, "offset"
    ON CONFLICT (recorded_at, event_id, content_hash) DO NOTHING
    RETURNING topic_id, partition
)

SELECT topic_id, partition, count(*) FROM stored GROUP BY topic_id, partition
