-- mart.daily_admissions: who came, left, died, moved and stayed over night; by day, service and admission type.
--
-- Spark SQL over the reads; :days are the days to build and :today is the facility's, as days since 1970-01-01.
--
-- A row of a day depends on stays whose span (admission day to discharge day, of an open stay to today) has the day in
-- it, and on movements of the day within such a span: these are the days that a commit marks. Length of stay and
-- midnight census: docs/decisions/0011-daily-aggregates.md names the sources of the definitions.
WITH days AS (
    SELECT explode(:days) AS day
),

-- discharge day - admission day; CMS counts a same-day stay as 1, others as 0: ops.hospital says which
ended AS (
    SELECT
        discharged_day AS day,
        service,
        admission_type,
        died,
        CASE
            WHEN NOT has_length THEN NULL
            WHEN discharged_day = admitted_day THEN :same_day_stay_days
            ELSE discharged_day - admitted_day
        END AS length_of_stay
    FROM stays
    WHERE discharged_day IS NOT NULL
),

-- census at 24:00 of the day: admitted on it or before, discharged after it; an open stay up to yesterday
over_night AS (
    SELECT /*+ BROADCAST(d) */ d.day, s.service, s.admission_type
    FROM stays AS s
    INNER JOIN days AS d
        ON d.day >= s.admitted_day AND d.day < coalesce(s.discharged_day, :today)
    WHERE d.day <> :today
),

happened AS (
    SELECT
        admitted_day AS day, service, admission_type,
        1 AS admission, 0 AS discharge, 0 AS death, 0 AS transfer, 0 AS stayed, NULL AS length_of_stay
    FROM stays
    UNION ALL
    SELECT day, service, admission_type, 0, 1, CASE WHEN died THEN 1 ELSE 0 END, 0, 0, length_of_stay
    FROM ended
    UNION ALL
    SELECT day, service, admission_type, 0, 0, 0, 1, 0, NULL
    FROM transfers
    UNION ALL
    SELECT day, service, admission_type, 0, 0, 0, 0, 1, NULL
    FROM over_night
),

counted AS (
    SELECT
        day,
        service,
        admission_type,
        sum(admission) AS admissions,
        sum(discharge) AS discharges,
        sum(death) AS deaths,
        sum(transfer) AS transfers,
        sum(stayed) AS stayed,
        count(length_of_stay) AS los_stays,
        coalesce(sum(length_of_stay), 0) AS los_days_sum,
        percentile(length_of_stay, array(0.5, 0.9)) AS los
    FROM happened
    WHERE day IN (SELECT day FROM days)
    GROUP BY day, service, admission_type
)

SELECT
    date_from_unix_date(day) AS day,
    service,
    admission_type,
    admissions,
    discharges,
    deaths,
    transfers,
    CASE WHEN day <> :today THEN stayed END AS midnight_census,
    los_stays,
    los_days_sum,
    CASE WHEN los_stays > 0 THEN CAST(los_days_sum AS double) / los_stays END AS alos_days,
    los[0] AS los_median_days,
    los[1] AS los_p90_days
FROM counted
