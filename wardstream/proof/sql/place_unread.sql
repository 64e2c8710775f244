-- Where each message is found that no deployed version of its schema reads: by topic id, partition and offset alone.
INSERT INTO placed ("offset", place, fault, hash)
SELECT
    m."offset",
    coalesce(there.place, 'nowhere'),
    CASE WHEN there.place IS NULL THEN 'it is nowhere in the database' END,
    there.hash
FROM unnest(%(offsets)s::bigint[]) AS m ("offset")
LEFT JOIN (
    SELECT h."offset", 'history' AS place, {history_hash} AS hash FROM {history} AS h
    WHERE h.topic_id = %(topic_id)s AND h.partition = %(partition)s
    UNION ALL
    SELECT d."offset", 'duplicate', {duplicate_hash} FROM ops.duplicates AS d
    WHERE d.topic_id = %(topic_id)s AND d.partition = %(partition)s
    UNION ALL
    SELECT q."offset", 'quarantine', {quarantine_hash} FROM ops.quarantine AS q
    WHERE q.topic_id = %(topic_id)s AND q.partition = %(partition)s
) AS there ON there."offset" = m."offset"
