-- What is no longer stale is forgotten.
DELETE FROM ops.stale_days AS s
WHERE NOT EXISTS (
    SELECT
    FROM unnest(%(tables)s::text[], %(facilities)s::text[], %(days)s::date[]) AS t (mart_table, facility, day)
    WHERE (t.mart_table, t.facility, t.day) = (s.mart_table, s.facility, s.day)
)
