-- Where each message is found that no deployed version of its schema reads: by topic id, partition and offset alone.
INSERT INTO placed (topic_id, partition, "offset", place, fault)
SELECT
    %(topic_id)s,
    %(partition)s,
    m."offset",
    coalesce(there.place, 'nowhere'),
    CASE WHEN there.place IS NULL THEN 'it is nowhere in the database' END
FROM unnest(%(offsets)s::bigint[]) AS m ("offset")
LEFT JOIN (
    SELECT "offset", 'history' AS place FROM {history}
    WHERE topic_id = %(topic_id)s AND partition = %(partition)s
    UNION ALL
    SELECT "offset", 'duplicate' FROM ops.duplicates
    WHERE topic_id = %(topic_id)s AND partition = %(partition)s
    UNION ALL
    SELECT "offset", 'quarantine' FROM ops.quarantine
    WHERE topic_id = %(topic_id)s AND partition = %(partition)s
) AS there ON there."offset" = m."offset"
