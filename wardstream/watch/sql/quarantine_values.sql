-- The newest messages of a topic that nobody has decided about, for the names of their senders, and the schemas met.
SELECT q.value, q.reason, q.broker_time, i.fingerprint
FROM (
    SELECT value, reason, broker_time, schema_id, topic
    FROM ops.quarantine
    WHERE topic = %(topic)s AND discarded_at IS NULL
    ORDER BY quarantined_at DESC
    LIMIT %(most)s
) AS q
INNER JOIN ops.schema_ids AS i ON i.schema_id = q.schema_id AND i.topic = q.topic
