-- Of each entity the greatest version among what is staged, new or not: what is not new is no greater than core's.
SELECT DISTINCT ON ({key}, authority) *
FROM ({query}) AS staged
WHERE {key} IS NOT NULL
ORDER BY {key}, authority, recorded_at DESC, source_seq DESC, event_id DESC, content_hash DESC
