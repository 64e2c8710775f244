-- Days of every row of these sources in a core table, whatever changed: for a change of a zone, or of a source's facility.
INSERT INTO touched_days
SELECT DISTINCT {table}, of_r.facility, d.day
FROM {core} AS r
INNER JOIN ops.calendars AS of_r USING (source)
CROSS JOIN LATERAL ({days}) AS d
WHERE r.source = ANY(%(sources)s)
