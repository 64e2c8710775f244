-- Take the days of a build whose rows are to be put in place: those that no newer build holds. Ordered, so that two
-- builds that meet wait for one another and do not deadlock.
INSERT INTO ops.day_builds AS b (mart_table, facility, day, version, as_of, definition)
SELECT %(table)s, %(facility)s, day, version, %(today)s::date, %(definition)s
FROM building
ORDER BY day
ON CONFLICT (mart_table, facility, day) DO UPDATE
SET version = excluded.version, as_of = excluded.as_of, definition = excluded.definition, built_at = excluded.built_at
WHERE b.version < excluded.version OR (b.version = excluded.version AND b.as_of <= excluded.as_of)
RETURNING day
