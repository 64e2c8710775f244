-- What a stream should do, and whether a driver should therefore run now: also while a drain is not at its end.
-- A partition that the ledger does not know counts as not drained; a topic that is held up ends no drain.
SELECT
    c.desired,
    c.restarts,
    c.requested_by,
    c.requested_at,
    c.drain_to,
    CASE c.desired
        WHEN 'running' THEN true
        WHEN 'stopped' THEN false
        ELSE EXISTS (
            SELECT FROM jsonb_each(c.drain_to) AS t (topic_id, partitions)
            CROSS JOIN LATERAL jsonb_each_text(t.partitions) AS p (partition, "end")
            LEFT JOIN ops.ledger AS l ON l.topic_id = t.topic_id AND l.partition = p.partition::integer
            WHERE (l.next_offset IS NULL OR l.next_offset < p."end"::bigint)
                AND NOT EXISTS (
                    SELECT FROM ops.streams AS s CROSS JOIN LATERAL jsonb_each(s.held) AS h (topic, held)
                    WHERE s.stream = c.stream AND h.held ->> 'topic_id' = t.topic_id
                )
        )
    END AS wanted
FROM ops.stream_control AS c
WHERE c.stream = %(stream)s
