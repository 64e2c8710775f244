-- lab_results: one row a result that holds. Durations are whole microseconds; null where a time is missing or the
-- later one was sent as the earlier.
-- days: observed_at
SELECT
    observed_at,
    (observed_at AT TIME ZONE %(zone)s)::date - date '1970-01-01' AS day,
    coalesce(test_code, '(unknown)') AS test_code,
    coalesce(unit, '(none)') AS unit,
    test_name,
    loinc_code,
    value_number,
    flag,
    CASE WHEN reported_at >= ordered_at THEN (extract(EPOCH FROM reported_at - ordered_at) * 1000000)::bigint END
        AS order_to_report,
    CASE WHEN reported_at >= collected_at THEN (extract(EPOCH FROM reported_at - collected_at) * 1000000)::bigint END
        AS collect_to_report
FROM core.lab_results
WHERE status <> 'cancelled'
    AND source IN (SELECT source FROM ops.sources WHERE facility = %(facility)s)
