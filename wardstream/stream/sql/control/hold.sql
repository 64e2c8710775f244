-- Let this session hold a stream, unless another session that holds it is still there: one row, or none.
-- One statement, and pg_stat_activity is read after the row is locked: of two sessions at once the second sees the first.
-- The start of a session is hidden from other roles; one that cannot be told apart counts as the holder.
INSERT INTO ops.stream_leases AS l (stream, backend_pid, backend_start)
VALUES (%(stream)s, %(pid)s, %(start)s)
ON CONFLICT (stream) DO UPDATE
SET backend_pid = excluded.backend_pid, backend_start = excluded.backend_start
WHERE NOT EXISTS (
    SELECT FROM pg_stat_activity AS a
    WHERE a.pid = l.backend_pid AND coalesce(a.backend_start = l.backend_start, true)
)
RETURNING l.stream
