-- Staged rows that say something new become history; where they were found goes to fresh_<topic>.
-- Ordered, so that of two equal messages in one batch the first offset stays.
WITH stored AS (
    INSERT INTO {history} ({columns})
    SELECT {columns} FROM ({query}) AS q
    ORDER BY partition, "offset"
    ON CONFLICT (recorded_at, event_id, content_hash) DO NOTHING
    RETURNING {found}
)
INSERT INTO {fresh} SELECT {found} FROM stored
