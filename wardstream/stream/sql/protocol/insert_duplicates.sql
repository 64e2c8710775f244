-- What was staged and is not new repeats a fact of history: remember where, and which fact. A row that is in history
-- neither now nor from before was dropped by the commit file: it is left out here, so that the counts do not add up.
-- MATERIALIZED and LIMIT keep the planner, which knows no sizes of temporary tables, to one index look-up a row.
WITH known AS MATERIALIZED (
    SELECT s.topic_id, s.partition, s."offset", s.recorded_at, s.event_id, s.content_hash
    FROM {staged} AS s
    LEFT JOIN {fresh} AS f USING (topic_id, partition, "offset")
    WHERE f.partition IS NULL
),

repeated AS (
    INSERT INTO ops.duplicates (topic_id, partition, "offset", topic, recorded_at, event_id, content_hash)
    SELECT k.topic_id, k.partition, k."offset", {topic}, k.recorded_at, k.event_id, k.content_hash
    FROM known AS k
    CROSS JOIN LATERAL (
        SELECT FROM {history} AS h
        WHERE (h.recorded_at, h.event_id, h.content_hash) = (k.recorded_at, k.event_id, k.content_hash)
        LIMIT 1
    ) AS there
    RETURNING topic_id, partition
)

SELECT topic_id, partition, count(*) FROM repeated GROUP BY topic_id, partition
