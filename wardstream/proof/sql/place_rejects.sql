-- Where each message that should be refused is found: in quarantine, with its bytes.
INSERT INTO placed ("offset", place, fault, hash)
SELECT
    r."offset",
    CASE WHEN q."offset" IS NULL THEN 'nowhere' ELSE 'quarantine' END,
    CASE
        WHEN q."offset" IS NULL THEN 'it is refused today (' || r.reason || ') and not in quarantine'
        WHEN q.key IS DISTINCT FROM r.key OR q.value IS DISTINCT FROM r.value THEN 'its bytes in quarantine are others'
        WHEN (q.topic, q.broker_time) <> (r.topic, r.broker_time) OR q.schema_id IS DISTINCT FROM r.schema_id
            THEN 'its topic, time or schema id in quarantine is another'
    END,
    CASE WHEN q."offset" IS NOT NULL THEN {quarantine_hash} END
FROM refused AS r
LEFT JOIN ops.quarantine AS q ON (q.topic_id, q.partition, q."offset") = (r.topic_id, r.partition, r."offset")
