-- One pass over {rows}: of each piece of a partition (the pieces that begin at `starts`, numbered from 1) how many rows
-- there are, and the sum of their hashes. `filed`: the ledger knows the partition under the topic the rows are filed
-- under. `beyond`: rows from where the ledger is now.
-- OFFSET 0 hides from the planner that `piece` comes from offsets: it would expect as many groups as rows, and leave all
-- of the work to one process. Temporary tables would do so, too.
SELECT
    t.topic_id,
    t.partition,
    t.filed,
    t.piece,
    count(*),
    sum(t.hash),
    min(t."offset"),
    count(*) FILTER (WHERE t.beyond)
FROM (
    SELECT
        s.topic_id,
        s.partition,
        s."offset",
        l.topic_id IS NOT NULL AS filed,
        width_bucket(s."offset", p.starts) AS piece,
        {hash} AS hash,
        s."offset" >= l.next_offset AS beyond
    FROM {rows} AS s
    LEFT JOIN (VALUES {starts}) AS p (topic_id, partition, starts)
        ON p.topic_id = s.topic_id AND p.partition = s.partition
    LEFT JOIN ops.ledger AS l ON l.topic_id = s.topic_id AND l.partition = s.partition AND l.topic = {topic}
    OFFSET 0
) AS t
GROUP BY t.topic_id, t.partition, t.filed, t.piece
