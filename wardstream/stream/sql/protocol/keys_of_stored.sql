-- The entities of what is staged and new, where not all of it is. New is what this very transaction has put there.
SELECT DISTINCT s.authority, s.{key}
FROM (
    SELECT authority, {key}, topic_id, partition, "offset", recorded_at, event_id, content_hash
    FROM ({query}) AS q
    OFFSET 0
) AS s
CROSS JOIN LATERAL (
    SELECT h.topic_id, h.partition, h."offset", h.received_at
    FROM {history} AS h
    WHERE (h.recorded_at, h.event_id, h.content_hash) = (s.recorded_at, s.event_id, s.content_hash)
    LIMIT 1
) AS there
WHERE s.{key} IS NOT NULL
    AND (there.topic_id, there.partition, there."offset", there.received_at)
    = (s.topic_id, s.partition, s."offset", now())
