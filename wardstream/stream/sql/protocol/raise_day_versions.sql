-- Every touched day takes the number of this commit.
INSERT INTO ops.day_versions (core_table, facility, day, version)
SELECT DISTINCT core_table, facility, day, %(seq)s::bigint FROM touched_days
ON CONFLICT (core_table, facility, day) DO UPDATE SET version = excluded.version
