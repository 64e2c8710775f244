-- Days on which a stay that changes counts otherwise than before. Each day of it, where it comes, goes, or changes in a
-- column that counts throughout; else its first and last day, as they were and as they become, days that only one of
-- the two has, and days that nothing has marked yet: those that an open stay has lived through since its last change.
-- Of stays with the same first and last days one is laid out (UNION): an open stay has each day up to today, and a batch
-- may have thousands of them.
INSERT INTO touched_days
SELECT DISTINCT {table}, d.facility, d.day
FROM (
    SELECT
        was.facility AS was_in,
        {was_from} AS was_from,
        {was_to} AS was_to,
        becomes.facility AS now_in,
        {now_from} AS now_from,
        {now_to} AS now_to,
        c.differs IS NOT FALSE OR was.facility <> becomes.facility AS throughout
    FROM changed AS c
    INNER JOIN ops.calendars AS becomes ON becomes.source = c.now_source
    LEFT JOIN ops.calendars AS was ON was.source = c.was_source
    UNION
    SELECT of_r.facility, {gone_from}, {gone_to}, NULL, NULL, NULL, true
    FROM gone AS r
    INNER JOIN ops.calendars AS of_r ON of_r.source = r.source
) AS r
CROSS JOIN LATERAL (
    SELECT r.was_in AS facility, r.was_from + i AS day FROM generate_series(0, r.was_to - r.was_from) AS i
    UNION ALL
    SELECT r.now_in, r.now_from + i FROM generate_series(0, r.now_to - r.now_from) AS i
) AS d
WHERE r.throughout
    OR d.day IN (r.was_from, r.was_to, r.now_from, r.now_to)
    OR coalesce(d.day BETWEEN r.was_from AND r.was_to, false) <> coalesce(d.day BETWEEN r.now_from AND r.now_to, false)
    OR NOT EXISTS (SELECT FROM ops.day_versions AS v WHERE (v.core_table, v.facility, v.day) = ({table}, d.facility, d.day))
