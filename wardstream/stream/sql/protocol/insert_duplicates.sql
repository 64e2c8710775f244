-- What was staged and is not new repeats a fact of history: remember where, and which fact. New is what this very
-- transaction has put there. A row that is in history neither now nor from before was dropped by the commit file: it is
-- left out here, so that the counts do not add up.
-- MATERIALIZED and LIMIT keep the planner, which knows no sizes of temporary tables, to one index look-up a row.
WITH staged AS MATERIALIZED (
    SELECT topic_id, partition, "offset", recorded_at, event_id, content_hash FROM {staged}
),

repeated AS (
    INSERT INTO ops.duplicates (topic_id, partition, "offset", topic, recorded_at, event_id, content_hash)
    SELECT s.topic_id, s.partition, s."offset", {topic}, s.recorded_at, s.event_id, s.content_hash
    FROM staged AS s
    CROSS JOIN LATERAL (
        SELECT h.topic_id, h.partition, h."offset", h.received_at
        FROM {history} AS h
        WHERE (h.recorded_at, h.event_id, h.content_hash) = (s.recorded_at, s.event_id, s.content_hash)
        LIMIT 1
    ) AS there
    WHERE (there.topic_id, there.partition, there."offset", there.received_at)
        <> (s.topic_id, s.partition, s."offset", now())
    RETURNING topic_id, partition
)

SELECT topic_id, partition, count(*) FROM repeated GROUP BY topic_id, partition
