-- The next generation of a stream. Starts that came to nothing are counted here, since the one before cannot; one that
-- left as asked (stopped) is none of them. Of the starts the newest are kept, and the first since the last commit.
INSERT INTO ops.streams AS s
    (stream, generation, state, pid, backend_pids, started_at, heartbeat_at, lag, restarts, recent_starts)
VALUES (%(stream)s, 1, 'starting', %(pid)s, '{}', now(), now(), '{}', %(restarts)s, ARRAY[now()])
ON CONFLICT (stream) DO UPDATE
SET generation = s.generation + 1, state = excluded.state, pid = excluded.pid, backend_pids = '{}',
    started_at = now(), heartbeat_at = now(), blocked_by = NULL, lag = '{}', caught_up_at = NULL, restarts = excluded.restarts,
    recent_starts = CASE
        WHEN s.state = 'stopped' THEN excluded.recent_starts
        ELSE (excluded.recent_starts || s.recent_starts)[1:9] || ARRAY(
            SELECT min(earlier.at)
            FROM unnest(s.recent_starts[9:]) AS earlier (at)
            WHERE earlier.at > coalesce(s.last_commit_at, '-infinity')
            HAVING count(*) > 0
        )
    END,
    fruitless_starts = CASE
        WHEN s.last_commit_at >= s.started_at THEN 0
        WHEN s.state = 'stopped' THEN s.fruitless_starts
        WHEN jsonb_path_exists(s.lag, '$.*.* ? (@ > 0)') THEN s.fruitless_starts + 1
        ELSE s.fruitless_starts
    END
RETURNING generation, fruitless_starts, behind_since, held
