-- One request: what the stream should do from now on, and who asked. No row: ops.stream_control does not know the stream.
WITH asked AS (
    UPDATE ops.stream_control AS c
    SET desired = %(desired)s,
        revision = c.revision + 1,
        restarts = c.restarts + (%(action)s = 'restart')::integer,
        drain_to = %(drain_to)s,
        generation_at_request = coalesce((SELECT generation FROM ops.streams AS s WHERE s.stream = c.stream), 0),
        requested_by = %(by)s,
        requested_at = clock_timestamp()
    WHERE c.stream = %(stream)s
    RETURNING c.stream, c.requested_by, c.revision, c.requested_at
)

INSERT INTO ops.stream_requests (stream, requested_by, action, revision, requested_at)
SELECT stream, requested_by, %(action)s, revision, requested_at FROM asked
