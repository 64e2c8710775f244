-- Per topic: messages received and refused in commits of the last hour, and the first commit that refused one.
SELECT
    l.topic,
    coalesce(sum(r.received), 0)::bigint AS received,
    coalesce(sum(r.quarantined), 0)::bigint AS quarantined,
    min(r.committed_at) FILTER (WHERE r.quarantined > 0) AS since
FROM ops.ledger l
LEFT JOIN ops.ledger_ranges r
    ON r.topic_id = l.topic_id AND r.partition = l.partition AND r.committed_at > now() - interval '1 hour'
GROUP BY l.topic
ORDER BY l.topic
