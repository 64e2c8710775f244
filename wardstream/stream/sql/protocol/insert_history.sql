-- Staged rows that say something new become history; how many of each partition.
-- Ordered where a batch repeats a fact, so that of equal messages the first offset stays.
WITH stored AS (
    INSERT INTO {history} ({columns})
    SELECT {columns} FROM ({query}) AS q
    {order}
    ON CONFLICT (recorded_at, event_id, content_hash) DO NOTHING
    RETURNING topic_id, partition
)

SELECT topic_id, partition, count(*) FROM stored GROUP BY topic_id, partition
