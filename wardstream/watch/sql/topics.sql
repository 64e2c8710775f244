-- Per topic of the ledger: messages received in commits of the last %(window)s seconds, and the age of its last commit in
-- seconds by the server's clock; null where it never had one. Each partition's ranges are read backwards by the primary
-- key, so that this does not grow with the ledger, and 1,200 of them: a partition is committed 15 times a second at most.
WITH latest AS (
    SELECT
        l.topic,
        max(r.committed_at) AS committed_at,
        sum(r.received) FILTER (WHERE r.committed_at > now() - make_interval(secs => %(window)s)) AS received
    FROM ops.ledger AS l
    LEFT JOIN LATERAL (
        SELECT of_one.committed_at, of_one.received
        FROM ops.ledger_ranges AS of_one
        WHERE of_one.topic_id = l.topic_id AND of_one.partition = l.partition
        ORDER BY of_one.start_offset DESC
        LIMIT 1200
    ) AS r ON true
    GROUP BY l.topic
)

SELECT
    topic,
    coalesce(received, 0)::bigint AS received,
    extract(EPOCH FROM clock_timestamp() - committed_at)::float8 AS last_commit_age
FROM latest
ORDER BY topic
