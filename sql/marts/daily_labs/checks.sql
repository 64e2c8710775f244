-- What must hold of built rows of mart.daily_labs: each line that comes back is a fault and a day.
-- `built` has the rows, `building` the days, `building_runs` their runs with the instants that enclose them.
WITH expected AS (
    SELECT
        (l.observed_at AT TIME ZONE %(zone)s)::date AS day,
        count(*) AS results,
        count(l.value_number) AS numeric_results,
        count(*) FILTER (WHERE l.reported_at >= l.ordered_at) AS ordered,
        count(*) FILTER (WHERE l.reported_at >= l.collected_at) AS collected
    FROM building_runs AS r
    INNER JOIN core.lab_results AS l ON l.observed_at >= r.from_at AND l.observed_at < r.until_at
    WHERE (l.observed_at AT TIME ZONE %(zone)s)::date BETWEEN r.first_day AND r.last_day
        AND l.status IN ('final', 'corrected')
        AND l.source IN (SELECT source FROM ops.sources WHERE facility = %(facility)s)
    GROUP BY 1
),

found AS (
    SELECT
        day,
        sum(results) AS results,
        sum(numeric_results) AS numeric_results,
        sum(order_to_report_results) AS ordered,
        sum(collect_to_report_results) AS collected
    FROM built
    GROUP BY day
)

SELECT 'rows of a day that was not to be built' AS fault, day
FROM built
WHERE day NOT IN (SELECT day FROM building)
UNION ALL
SELECT 'two rows for one day, test and unit', day
FROM built
GROUP BY day, test_code, unit
HAVING count(*) > 1
UNION ALL
SELECT 'a null that must not be', day
FROM built
WHERE num_nulls(
        day, test_code, unit, results, numeric_results, abnormal, abnormal_share,
        order_to_report_results, collect_to_report_results
    ) > 0
    OR num_nulls(median_value, p90_value) <> CASE WHEN numeric_results = 0 THEN 2 ELSE 0 END
    OR num_nulls(order_to_report_median_minutes, order_to_report_p90_minutes, order_to_report_within_60)
    <> CASE WHEN order_to_report_results = 0 THEN 3 ELSE 0 END
    OR num_nulls(collect_to_report_median_minutes, collect_to_report_p90_minutes, collect_to_report_within_60)
    <> CASE WHEN collect_to_report_results = 0 THEN 3 ELSE 0 END
UNION ALL
SELECT 'a number out of range', day
FROM built
WHERE results < 1
    OR numeric_results NOT BETWEEN 0 AND results
    OR abnormal NOT BETWEEN 0 AND results
    OR abnormal_share NOT BETWEEN 0 AND 1
    OR order_to_report_results NOT BETWEEN 0 AND results
    OR collect_to_report_results NOT BETWEEN 0 AND results
    OR p90_value < median_value
    OR order_to_report_median_minutes < 0
    OR order_to_report_p90_minutes < order_to_report_median_minutes
    OR order_to_report_within_60 NOT BETWEEN 0 AND 1
    OR collect_to_report_median_minutes < 0
    OR collect_to_report_p90_minutes < collect_to_report_median_minutes
    OR collect_to_report_within_60 NOT BETWEEN 0 AND 1
UNION ALL
SELECT 'totals that are not those of core', coalesce(e.day, f.day)
FROM expected AS e
FULL JOIN found AS f USING (day)
WHERE (e.results, e.numeric_results, e.ordered, e.collected)
    IS DISTINCT FROM (f.results, f.numeric_results, f.ordered, f.collected)
