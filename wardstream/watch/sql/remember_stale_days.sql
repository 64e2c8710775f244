-- What is stale is remembered with its last build; a build since the look before begins a new count.
INSERT INTO ops.stale_days AS s (mart_table, facility, day, built_at)
SELECT t.mart_table, t.facility, t.day, b.built_at
FROM unnest(%(tables)s::text[], %(facilities)s::text[], %(days)s::date[]) AS t (mart_table, facility, day)
LEFT JOIN ops.day_builds AS b USING (mart_table, facility, day)
ON CONFLICT (mart_table, facility, day) DO UPDATE
SET built_at = excluded.built_at, seen_at = excluded.seen_at
WHERE s.built_at IS DISTINCT FROM excluded.built_at
