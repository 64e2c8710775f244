-- The window of a source, if it has none yet. Not where facts of the source are there already: they lie at other times.
INSERT INTO ops.replay_windows (source, days, ends_at, timezone)
SELECT %(source)s, %(days)s, date_trunc('minute', clock_timestamp()), %(timezone)s
WHERE NOT EXISTS (SELECT FROM core.patients WHERE source = %(source)s)
ON CONFLICT (source) DO NOTHING
