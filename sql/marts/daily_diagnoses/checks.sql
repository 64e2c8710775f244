-- What must hold of built rows of mart.daily_diagnoses: each line that comes back is a fault and a day.
-- `built` has the rows, `building` the days, `building_runs` their runs with the instants that enclose them.
WITH expected AS (
    SELECT
        (d.coded_at AT TIME ZONE %(zone)s)::date AS day,
        count(*) AS diagnoses,
        count(*) FILTER (WHERE d.sequence = 1) AS primary_diagnoses,
        count(DISTINCT (coalesce(d.code_system, '(unknown)'), coalesce(d.code, '(unknown)'))) AS codes
    FROM building_runs AS r
    INNER JOIN core.diagnoses AS d ON d.coded_at >= r.from_at AND d.coded_at < r.until_at
    WHERE (d.coded_at AT TIME ZONE %(zone)s)::date BETWEEN r.first_day AND r.last_day
        AND d.status IN ('final', 'corrected')
        AND d.source IN (SELECT source FROM ops.sources WHERE facility = %(facility)s)
    GROUP BY 1
),

found AS (
    SELECT
        day,
        sum(diagnoses) AS diagnoses,
        sum(primary_diagnoses) AS primary_diagnoses,
        count(*) AS codes
    FROM built
    GROUP BY day
)

SELECT 'rows of a day that was not to be built' AS fault, day
FROM built
WHERE day NOT IN (SELECT day FROM building)
UNION ALL
SELECT 'two rows for one day, code list and code', day
FROM built
GROUP BY day, code_system, code
HAVING count(*) > 1
UNION ALL
SELECT 'a null that must not be', day
FROM built
WHERE num_nulls(
        day, code_system, code, chapter, chapter_title, diagnoses, primary_diagnoses, patients, encounters
    ) > 0
UNION ALL
SELECT 'a number out of range', day
FROM built
WHERE diagnoses < 1
    OR primary_diagnoses NOT BETWEEN 0 AND diagnoses
    OR patients NOT BETWEEN 1 AND diagnoses
    OR encounters NOT BETWEEN 0 AND diagnoses
UNION ALL
SELECT 'totals that are not those of core', coalesce(e.day, f.day)
FROM expected AS e
FULL JOIN found AS f USING (day)
WHERE (e.diagnoses, e.primary_diagnoses, e.codes) IS DISTINCT FROM (f.diagnoses, f.primary_diagnoses, f.codes)
