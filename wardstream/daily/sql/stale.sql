-- The days of one mart table that have to be built, by facility, and from which version. A day is stale when
--   it was never built, or a commit or a change of the facility came after it was built;
--   it was built by another definition than the present one, or from other reference tables;
--   (tables that follow today) the build saw it on another side of today than it is now: today is over, or a day of
--   the future has come;
--   (tables that follow today) it is over or is today, a stay that is open now was in the house, and it was not built:
--   commits mark an open stay's days only up to the day of the commit.
-- With %(all)s every day from %(first)s to %(last)s, stale or not. Of %(facilities)s, or of all where it is null.
WITH facility AS (
    SELECT facility, since, timezone, (coalesce(%(at)s::timestamptz, now()) AT TIME ZONE timezone)::date AS today
    FROM ops.facilities
    WHERE %(facilities)s::text[] IS NULL OR facility = ANY(%(facilities)s::text[])
),

marked AS (
    SELECT facility, day, max(version) AS version
    FROM ops.day_versions
    WHERE core_table = ANY(%(core)s)
    GROUP BY facility, day
),

with_open_stays AS (
    SELECT facility, first_day + i AS day
    FROM (
        SELECT f.facility, f.today, min((e.admitted_at AT TIME ZONE f.timezone)::date) AS first_day
        FROM core.encounters AS e
        INNER JOIN ops.sources AS s USING (source)
        INNER JOIN facility AS f USING (facility)
        WHERE %(follows_today)s AND e.status = 'open' AND e.discharged_at IS NULL
        GROUP BY f.facility, f.today
    ) AS span
    CROSS JOIN LATERAL generate_series(0, today - first_day) AS i
),

known AS (
    SELECT facility, day FROM marked
    UNION
    SELECT facility, day FROM with_open_stays
    UNION
    SELECT facility, day FROM ops.day_builds WHERE mart_table = %(table)s
    UNION
    SELECT facility, %(first)s::date + i
    FROM facility
    CROSS JOIN generate_series(0, %(last)s::date - %(first)s::date) AS i
    WHERE %(all)s
)

SELECT k.facility, k.day, greatest(m.version, f.since) AS version
FROM known AS k
INNER JOIN facility AS f USING (facility)
LEFT JOIN marked AS m USING (facility, day)
LEFT JOIN ops.day_builds AS b ON (b.mart_table, b.facility, b.day) = (%(table)s, k.facility, k.day)
WHERE (k.day >= %(first)s::date OR %(first)s::date IS NULL)
    AND (k.day <= %(last)s::date OR %(last)s::date IS NULL)
    AND (
        %(all)s
        OR b.day IS NULL
        OR b.version < greatest(m.version, f.since)
        OR b.definition IS DISTINCT FROM %(definition)s
        OR (%(follows_today)s AND b.as_of < f.today AND sign(k.day - b.as_of) <> sign(k.day - f.today))
    )
ORDER BY k.facility, k.day
