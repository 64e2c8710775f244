-- Messages in quarantine that nobody has decided about, by topic, reason and schema id; of a topic the oldest
-- %(most)s at most, so that a sender who is wrong about everything does not make this slow. %(topic)s: that one alone.
-- The topics are found by hopping along the index, one probe each.
WITH RECURSIVE topics AS (
    (SELECT min(topic) AS topic FROM ops.quarantine WHERE discarded_at IS NULL)
    UNION ALL
    SELECT (SELECT min(q.topic) FROM ops.quarantine AS q WHERE q.discarded_at IS NULL AND q.topic > t.topic)
    FROM topics AS t
    WHERE t.topic IS NOT NULL
)

SELECT
    t.topic,
    q.reason,
    q.schema_id,
    count(*) AS messages,
    min(q.quarantined_at) AS first,
    max(q.quarantined_at) AS last
FROM topics AS t
CROSS JOIN LATERAL (
    SELECT of_one.reason, of_one.schema_id, of_one.quarantined_at
    FROM ops.quarantine AS of_one
    WHERE of_one.topic = t.topic AND of_one.discarded_at IS NULL
    ORDER BY of_one.quarantined_at
    LIMIT %(most)s
) AS q
WHERE t.topic = %(topic)s OR %(topic)s::text IS NULL
GROUP BY t.topic, q.reason, q.schema_id
ORDER BY t.topic, messages DESC, q.reason, q.schema_id
