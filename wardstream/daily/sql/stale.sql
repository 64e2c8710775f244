-- The days of one mart table that have to be built, and from which version. A day is stale when
--   it was never built, or a commit or a change of the facility came after it was built;
--   it was built by another definition than the present one, or from other reference tables;
--   (tables that follow today) the build saw it on another side of today than it is now: today is over, or a day of
--   the future has come;
--   (tables that follow today) it is over or is today, a stay that is open now was in the house, and it was not built:
--   commits mark an open stay's days only up to the day of the commit.
-- With %(all)s every day from %(first)s to %(last)s, stale or not.
WITH facility AS (
    SELECT since, coalesce(%(today)s::date, (now() AT TIME ZONE timezone)::date) AS today, timezone
    FROM ops.facility
),

marked AS (
    SELECT day, max(version) AS version
    FROM ops.day_versions
    WHERE core_table = ANY(%(core)s)
    GROUP BY day
),

with_open_stays AS (
    SELECT first_day + i AS day
    FROM (
        SELECT min((e.admitted_at AT TIME ZONE f.timezone)::date) AS first_day, min(f.today) AS today
        FROM core.encounters AS e
        CROSS JOIN facility AS f
        WHERE %(follows_today)s AND e.status = 'open' AND e.discharged_at IS NULL
    ) AS span
    CROSS JOIN LATERAL generate_series(0, today - first_day) AS i
),

known AS (
    SELECT day FROM marked
    UNION
    SELECT day FROM with_open_stays
    UNION
    SELECT day FROM ops.day_builds WHERE mart_table = %(table)s
    UNION
    SELECT %(first)s::date + i FROM generate_series(0, %(last)s::date - %(first)s::date) AS i WHERE %(all)s
)

SELECT k.day, greatest(m.version, f.since) AS version
FROM known AS k
CROSS JOIN facility AS f
LEFT JOIN marked AS m USING (day)
LEFT JOIN ops.day_builds AS b ON b.mart_table = %(table)s AND b.day = k.day
WHERE (k.day >= %(first)s::date OR %(first)s::date IS NULL)
    AND (k.day <= %(last)s::date OR %(last)s::date IS NULL)
    AND (
        %(all)s
        OR b.day IS NULL
        OR b.version < greatest(m.version, f.since)
        OR b.definition IS DISTINCT FROM %(definition)s
        OR (%(follows_today)s AND b.as_of < f.today AND sign(k.day - b.as_of) <> sign(k.day - f.today))
    )
ORDER BY k.day
