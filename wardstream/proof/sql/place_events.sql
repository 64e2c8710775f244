-- Where each message that should be a fact is found: as a row of history (same place, same content), or as a
-- duplicate of one. {expected} holds what its bytes say now, in the shape of history without received_at.
INSERT INTO placed ("offset", place, fault, hash)
SELECT
    e."offset",
    CASE
        WHEN h.event_id IS NULL THEN 'nowhere'
        WHEN here THEN 'history'
        WHEN d."offset" IS NOT NULL THEN 'duplicate'
        ELSE 'nowhere'
    END,
    CASE
        WHEN h.event_id IS NULL THEN 'its fact is not in history'
        WHEN here AND d."offset" IS NOT NULL THEN 'it is in history and in duplicates'
        WHEN here AND ROW({expected_columns})::record *<> ROW({history_columns})::record THEN 'its row of history says something else'
        WHEN NOT here AND d."offset" IS NULL THEN 'its fact came from elsewhere and no duplicate is recorded'
        WHEN NOT here AND (d.recorded_at, d.event_id, d.content_hash) <> (e.recorded_at, e.event_id, e.content_hash)
            THEN 'its row of duplicates names another fact'
    END,
    CASE WHEN here THEN {history_hash} WHEN d."offset" IS NOT NULL THEN {duplicate_hash} END
FROM {expected} AS e
LEFT JOIN {history} AS h ON (h.recorded_at, h.event_id, h.content_hash) = (e.recorded_at, e.event_id, e.content_hash)
LEFT JOIN ops.duplicates AS d ON (d.topic_id, d.partition, d."offset") = (e.topic_id, e.partition, e."offset")
CROSS JOIN LATERAL (
    SELECT coalesce((h.topic_id, h.partition, h."offset") = (e.topic_id, e.partition, e."offset"), false) AS here
) AS at
