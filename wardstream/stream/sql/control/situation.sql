-- What PostgreSQL knows of a stream: what it should do (c), what its driver says of itself (s), and what can be seen
-- without believing it: sessions, the lease, the commits. Ages in seconds by the server's clock. A sign of life can be
-- no older than the server's start: while PostgreSQL was away, nobody could give one. A topic that is held up ends no
-- drain, and its lag is apart (held).
WITH undrained AS (
    SELECT c.stream, sum(p."end"::bigint - coalesce(l.next_offset, 0)) AS offsets, count(*) AS partitions
    FROM ops.stream_control AS c
    CROSS JOIN LATERAL jsonb_each(coalesce(c.drain_to, '{}')) AS t (topic_id, partitions)
    CROSS JOIN LATERAL jsonb_each_text(t.partitions) AS p (partition, "end")
    LEFT JOIN ops.ledger AS l ON l.topic_id = t.topic_id AND l.partition = p.partition::integer
    WHERE (l.next_offset IS NULL OR l.next_offset < p."end"::bigint)
        AND NOT EXISTS (
            SELECT FROM ops.streams AS s CROSS JOIN LATERAL jsonb_each(s.held) AS h (topic, held)
            WHERE s.stream = c.stream AND h.held ->> 'topic_id' = t.topic_id
        )
    GROUP BY c.stream
),

-- The last three ranges of each partition: three commits of one generation are among them if there are three at all.
latest AS (
    SELECT r.generation, r.commit_seq, r.committed_at
    FROM ops.ledger AS l
    CROSS JOIN LATERAL (
        SELECT generation, commit_seq, committed_at
        FROM ops.ledger_ranges AS of_one
        WHERE of_one.topic_id = l.topic_id AND of_one.partition = l.partition
        ORDER BY of_one.start_offset DESC
        LIMIT 3
    ) AS r
),

moment AS (
    SELECT clock_timestamp() AS at
)

SELECT
    c.desired,
    c.requested_by,
    c.requested_at,
    CASE c.desired WHEN 'running' THEN true WHEN 'drained' THEN u.stream IS NOT NULL ELSE false END AS wanted,
    coalesce(u.offsets, 0)::bigint AS undrained_offsets,
    coalesce(u.partitions, 0) AS undrained_partitions,
    s.generation,
    s.state,
    s.blocked_by,
    s.lag,
    s.behind_since,
    s.held,
    coalesce(s.restarts >= c.restarts, false) AS since_restart,
    coalesce(s.caught_up_at >= c.requested_at, false) AS caught_up,
    coalesce(s.last_commit_at >= s.started_at, false) AS has_committed,
    coalesce(s.fruitless_starts, 0) AS fruitless_starts,
    coalesce(s.generation, 0) - c.generation_at_request AS generations_since_request,
    (SELECT count(*) FROM unnest(s.recent_starts) AS t (at) WHERE t.at > m.at - interval '5 minutes') AS recent_starts,
    extract(EPOCH FROM m.at - (
        SELECT min(t.at) FROM unnest(s.recent_starts) AS t (at) WHERE t.at > coalesce(s.last_commit_at, '-infinity')
    ))::float8 AS loop_age,
    coalesce(s.last_commit_at > s.recent_starts[4], false) AS committed_since_fourth_start,
    (
        SELECT count(DISTINCT latest.commit_seq) FROM latest
        WHERE latest.generation = s.generation AND latest.committed_at >= c.requested_at
    ) AS batches,
    (
        SELECT count(*) FROM pg_stat_activity AS a
        WHERE a.datname = current_database() AND a.application_name = ANY(%(sessions)s)
    ) AS sessions,
    EXISTS (
        SELECT FROM ops.stream_leases AS h
        INNER JOIN pg_stat_activity AS a ON a.pid = h.backend_pid AND coalesce(a.backend_start = h.backend_start, true)
        WHERE h.stream = c.stream
    ) AS leased,
    extract(EPOCH FROM m.at - s.heartbeat_at)::float8 AS heartbeat_age,
    extract(EPOCH FROM m.at - c.waiting_seen_at)::float8 AS waiting_age,
    extract(EPOCH FROM m.at - s.started_at)::float8 AS age,
    extract(EPOCH FROM m.at - s.last_commit_at)::float8 AS commit_age,
    extract(EPOCH FROM m.at - greatest(s.started_at, s.last_commit_at, s.caught_up_at))::float8 AS stalled,
    extract(EPOCH FROM m.at - c.requested_at)::float8 AS request_age,
    extract(EPOCH FROM m.at - greatest(s.heartbeat_at, c.waiting_seen_at, c.requested_at, pg_postmaster_start_time()))::float8
        AS silence,
    extract(EPOCH FROM m.at - greatest(s.heartbeat_at, pg_postmaster_start_time()))::float8 AS driver_silence
FROM ops.stream_control AS c
CROSS JOIN moment AS m
LEFT JOIN ops.streams AS s ON s.stream = c.stream
LEFT JOIN undrained AS u ON u.stream = c.stream
WHERE c.stream = %(stream)s
