-- What is no longer stale is forgotten.
DELETE FROM ops.stale_days AS s
WHERE NOT EXISTS (
    SELECT
    FROM unnest(%(tables)s::text[], %(days)s::date[]) AS t (mart_table, day)
    WHERE (t.mart_table, t.day) = (s.mart_table, s.day)
)
