-- What the stream's driver last said of itself. Ages in seconds by the server's clock.
SELECT
    state,
    generation,
    pid,
    extract(EPOCH FROM clock_timestamp() - heartbeat_at)::float8 AS heartbeat_age,
    extract(EPOCH FROM clock_timestamp() - last_commit_at)::float8 AS last_commit_age,
    lag || coalesce((SELECT jsonb_object_agg(h.topic, h.held -> 'lag') FROM jsonb_each(held) AS h (topic, held)), '{}') AS lag,
    blocked_by
FROM ops.streams
WHERE stream = %(stream)s
