-- One pass over {rows}: of each piece of a partition (the pieces that begin at `starts`, numbered from 1) how many rows
-- there are, and the sum of their hashes. `filed`: the ledger knows the partition under the topic the rows are filed
-- under. `beyond`: rows from where the ledger is now. Temporary tables would keep PostgreSQL from sharing the work.
SELECT
    s.topic_id,
    s.partition,
    l.topic_id IS NOT NULL AS filed,
    width_bucket(s."offset", p.starts) AS piece,
    count(*),
    sum({hash}),
    min(s."offset"),
    count(*) FILTER (WHERE s."offset" >= l.next_offset) AS beyond
FROM {rows} AS s
LEFT JOIN (VALUES {starts}) AS p (topic_id, partition, starts)
    ON p.topic_id = s.topic_id AND p.partition = s.partition
LEFT JOIN ops.ledger AS l ON l.topic_id = s.topic_id AND l.partition = s.partition AND l.topic = {topic}
GROUP BY s.topic_id, s.partition, filed, piece
