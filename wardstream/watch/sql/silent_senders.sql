-- Senders that have sent for a day or more and are silent for longer than %(hours)s hours and three times their longest
-- pause. `known`: whether that can be said of the topic now: a driver runs, and has read all that is there.
SELECT
    e.topic,
    e.source,
    e.last_at,
    e.longest_pause,
    coalesce(s.state = 'running' AND s.heartbeat_at > clock_timestamp() - interval '1 minute' AND NOT EXISTS (
        SELECT FROM jsonb_each_text(coalesce(s.lag -> e.topic, '{"-": "1"}')) AS l (partition, waiting) WHERE l.waiting <> '0'
    ), false) AS known
FROM ops.senders AS e
LEFT JOIN ops.streams AS s ON s.stream = %(stream)s
WHERE e.last_at - e.first_at >= interval '1 day'
    AND clock_timestamp() - e.last_at > greatest(make_interval(secs => %(hours)s * 3600), 3 * e.longest_pause)
ORDER BY e.topic, e.source
