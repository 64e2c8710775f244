-- What must hold of built rows of mart.daily_admissions: each line that comes back is a fault and a day.
-- `built` has the rows, `building` the days, `building_runs` their runs with the instants that enclose them.
WITH window_of AS (
    SELECT min(from_at) AS from_at, max(until_at) AS until_at FROM building_runs
),

stays AS MATERIALIZED (
    SELECT
        e.status,
        (e.admitted_at AT TIME ZONE %(zone)s)::date AS admitted,
        (e.discharged_at AT TIME ZONE %(zone)s)::date AS discharged,
        e.died_in_hospital,
        e.discharged_at < e.admitted_at AS backwards
    FROM core.encounters AS e
    CROSS JOIN window_of AS w
    WHERE e.admitted_at IS NOT NULL
        AND e.source IN (SELECT source FROM ops.sources WHERE facility = %(facility)s)
        AND (
            (e.admitted_at < w.until_at AND (e.discharged_at IS NULL OR e.discharged_at >= w.from_at))
            OR (e.admitted_at >= w.from_at AND e.admitted_at < w.until_at)
            OR (e.discharged_at >= w.from_at AND e.discharged_at < w.until_at)
        )
),

moves AS (
    SELECT (m.moved_at AT TIME ZONE %(zone)s)::date AS day, count(*) AS number
    FROM building_runs AS r
    INNER JOIN core.movements AS m ON m.moved_at >= r.from_at AND m.moved_at < r.until_at
    INNER JOIN core.encounters AS e ON (e.authority, e.encounter_id) = (m.authority, m.encounter_id)
    WHERE (m.moved_at AT TIME ZONE %(zone)s)::date BETWEEN r.first_day AND r.last_day
        AND m.source IN (SELECT source FROM ops.sources WHERE facility = %(facility)s)
        AND e.source IN (SELECT source FROM ops.sources WHERE facility = %(facility)s)
        AND m.status <> 'cancelled'
        AND m.movement_type = 'transfer'
        AND e.admitted_at IS NOT NULL
        AND m.moved_at >= e.admitted_at
        AND CASE
            WHEN e.discharged_at IS NULL THEN (m.moved_at AT TIME ZONE %(zone)s)::date <= %(today)s::date
            ELSE m.moved_at <= e.discharged_at
        END
    GROUP BY 1
),

came AS (
    SELECT admitted AS day, count(*) AS admissions FROM stays GROUP BY 1
),

gone AS (
    SELECT
        discharged AS day,
        count(*) AS discharges,
        count(*) FILTER (WHERE died_in_hospital) AS deaths,
        count(*) FILTER (WHERE NOT backwards) AS los_stays
    FROM stays
    GROUP BY 1
),

nights AS (
    SELECT b.day, count(*) AS stayed
    FROM building AS b
    INNER JOIN stays AS s
        ON s.admitted <= b.day
        AND (s.discharged > b.day OR (s.discharged IS NULL AND b.day < %(today)s::date))
    GROUP BY b.day
),

expected AS (
    SELECT
        b.day,
        coalesce(c.admissions, 0) AS admissions,
        coalesce(g.discharges, 0) AS discharges,
        coalesce(g.deaths, 0) AS deaths,
        coalesce(g.los_stays, 0) AS los_stays,
        coalesce(m.number, 0) AS transfers,
        coalesce(n.stayed, 0) AS midnight_census
    FROM building AS b
    LEFT JOIN came AS c USING (day)
    LEFT JOIN gone AS g USING (day)
    LEFT JOIN moves AS m USING (day)
    LEFT JOIN nights AS n USING (day)
),

found AS (
    SELECT
        day,
        sum(admissions) AS admissions,
        sum(discharges) AS discharges,
        sum(deaths) AS deaths,
        sum(los_stays) AS los_stays,
        sum(transfers) AS transfers,
        sum(midnight_census) AS midnight_census
    FROM built
    GROUP BY day
)

SELECT 'rows of a day that was not to be built' AS fault, day
FROM built
WHERE day NOT IN (SELECT day FROM building)
UNION ALL
SELECT 'two rows for one day, service and admission type', day
FROM built
GROUP BY day, service, admission_type
HAVING count(*) > 1
UNION ALL
SELECT 'a null that must not be', day
FROM built
WHERE num_nulls(day, service, admission_type, admissions, discharges, deaths, transfers, los_stays, los_days_sum) > 0
    OR (midnight_census IS NULL) <> (day = %(today)s::date)
    OR num_nulls(alos_days, los_median_days, los_p90_days) <> CASE WHEN los_stays = 0 THEN 3 ELSE 0 END
UNION ALL
SELECT 'a number out of range', day
FROM built
WHERE least(admissions, discharges, deaths, transfers, midnight_census, los_stays, los_days_sum) < 0
    OR deaths > discharges
    OR los_stays > discharges
    OR los_median_days < 0
    OR los_p90_days < los_median_days
    OR admissions + discharges + transfers + coalesce(midnight_census, 0) = 0
UNION ALL
SELECT 'totals that are not those of core', e.day
FROM expected AS e
LEFT JOIN found AS f USING (day)
WHERE (e.admissions, e.discharges, e.deaths, e.los_stays, e.transfers) <> (
        coalesce(f.admissions, 0), coalesce(f.discharges, 0), coalesce(f.deaths, 0),
        coalesce(f.los_stays, 0), coalesce(f.transfers, 0)
    )
    OR (e.day <> %(today)s::date AND e.midnight_census <> coalesce(f.midnight_census, 0))
