-- Days on which a stay that changes counts otherwise than before. Each day of it, where it comes, goes, or changes in a
-- column that counts throughout; else its first and last day, as they were and as they become, days that only one of
-- the two has, and days that nothing has marked yet: those that an open stay has lived through since its last change.
-- *<> compares stored bytes, and OFFSET 0 keeps core behind its index, as in mark_days.
INSERT INTO touched_days
SELECT DISTINCT {table}, d.facility, d.day
FROM (
    SELECT
        of_c.facility AS was_in,
        {was_from} AS was_from,
        {was_to} AS was_to,
        of_f.facility AS now_in,
        {now_from} AS now_from,
        {now_to} AS now_to,
        f.{key} IS NULL OR of_c.facility <> of_f.facility OR ROW({was})::record *<> ROW({becomes})::record AS throughout
    FROM touched AS t
    CROSS JOIN LATERAL (SELECT * FROM {core} AS one WHERE (one.authority, one.{key}) = (t.authority, t.key) OFFSET 0) AS c
    INNER JOIN ops.calendars AS of_c ON of_c.source = c.source
    LEFT JOIN {folded} AS f ON ({folded_pk}) = ({core_pk})
    LEFT JOIN ops.calendars AS of_f ON of_f.source = f.source
    WHERE f.{key} IS NULL OR c *<> f
    UNION ALL
    SELECT NULL, NULL, NULL, of_f.facility, {now_from}, {now_to}, true
    FROM {folded} AS f
    INNER JOIN ops.calendars AS of_f ON of_f.source = f.source
    LEFT JOIN LATERAL (SELECT * FROM {core} AS one WHERE ({one_pk}) = ({folded_pk}) OFFSET 0) AS c ON true
    WHERE c.{key} IS NULL
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
