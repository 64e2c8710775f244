-- Of each touched entity the greatest version, as history has it.
SELECT v.*
FROM touched
CROSS JOIN LATERAL (
    SELECT *
    FROM {history} AS one
    WHERE one.{key} = touched.key
        AND one.authority = touched.authority
        AND one.recorded_at <= %(known_at)s::timestamptz
    ORDER BY one.recorded_at DESC, one.source_seq DESC, one.event_id DESC, one.content_hash DESC
    LIMIT 1
) AS v
