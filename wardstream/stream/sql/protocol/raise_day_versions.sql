-- Every touched day takes the number of this commit.
INSERT INTO ops.day_versions (core_table, day, version)
SELECT DISTINCT core_table, day, %(seq)s::bigint FROM touched_days
ON CONFLICT (core_table, day) DO UPDATE SET version = excluded.version
