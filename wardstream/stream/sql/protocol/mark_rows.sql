-- Days of every row that says something else than before, as it was and as it becomes, each in the facility of its source: a
-- greater version alone is nothing that a day shows.
INSERT INTO touched_days
SELECT DISTINCT {table}, of_r.facility, d.day
FROM (
    SELECT {placed} FROM gone
    UNION ALL
    SELECT {was_placed} FROM changed WHERE differs
    UNION ALL
    SELECT {now_placed} FROM changed WHERE differs IS NOT FALSE
) AS r
INNER JOIN ops.calendars AS of_r USING (source)
CROSS JOIN LATERAL ({days}) AS d
