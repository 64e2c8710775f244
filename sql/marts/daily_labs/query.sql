-- mart.daily_labs: laboratory results by day, test and unit: how many, how many abnormal, typical values, turnaround.
--
-- Spark SQL over the reads. Percentiles are exact and interpolated, as PostgreSQL's percentile_cont. Adding 0.0 makes
-- -0.0 a 0.0: which of two equal numbers was sent must not be seen in a median. Turnaround: order to report and
-- collection to report; the share within 60 minutes is the usual measure (Hawkins 2007, target 90 %). Abnormal: the
-- word (MIMIC-III and the sample send it), or a code of HL7 v2 table 0078 that says out of range or abnormal. `delta`
-- (changed much since the last result) and other flags say nothing about the range.
WITH counted AS (
    SELECT
        day,
        test_code,
        unit,
        max(test_name) AS test_name,
        max(loinc_code) AS loinc_code,
        count(*) AS results,
        count(value_number) AS numeric_results,
        count_if(lower(flag) IN ('abnormal', 'l', 'h', 'll', 'hh', '<', '>', 'a', 'aa')) AS abnormal,
        percentile(value_number + 0.0D, array(0.5, 0.9)) AS value,
        count(order_to_report) AS ordered,
        percentile(order_to_report, array(0.5, 0.9)) AS from_order,
        count_if(order_to_report <= 3600000000) AS ordered_within_60,
        count(collect_to_report) AS collected,
        percentile(collect_to_report, array(0.5, 0.9)) AS from_collection,
        count_if(collect_to_report <= 3600000000) AS collected_within_60
    FROM lab_results
    GROUP BY day, test_code, unit
)

SELECT
    date_from_unix_date(day) AS day,
    test_code,
    unit,
    test_name,
    loinc_code,
    results,
    numeric_results,
    abnormal,
    CAST(abnormal AS double) / results AS abnormal_share,
    value[0] + 0.0D AS median_value,
    value[1] + 0.0D AS p90_value,
    ordered AS order_to_report_results,
    from_order[0] / 60000000 AS order_to_report_median_minutes,
    from_order[1] / 60000000 AS order_to_report_p90_minutes,
    CASE WHEN ordered > 0 THEN CAST(ordered_within_60 AS double) / ordered END AS order_to_report_within_60,
    collected AS collect_to_report_results,
    from_collection[0] / 60000000 AS collect_to_report_median_minutes,
    from_collection[1] / 60000000 AS collect_to_report_p90_minutes,
    CASE WHEN collected > 0 THEN CAST(collected_within_60 AS double) / collected END AS collect_to_report_within_60
FROM counted
