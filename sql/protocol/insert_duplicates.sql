-- What was staged and is not new repeats a fact of history: remember where, and which fact.
WITH repeated AS (
    INSERT INTO ops.duplicates (topic_id, partition, "offset", topic, recorded_at, event_id, content_hash)
    SELECT s.topic_id, s.partition, s."offset", {topic}, s.recorded_at, s.event_id, s.content_hash
    FROM {staged} AS s
    LEFT JOIN {fresh} AS f USING (topic_id, partition, "offset")
    WHERE f.partition IS NULL
    RETURNING topic_id, partition
)
SELECT topic_id, partition, count(*) FROM repeated GROUP BY topic_id, partition
