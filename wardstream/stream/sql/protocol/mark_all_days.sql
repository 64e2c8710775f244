-- Days of every row of a core table, whatever changed: for a change of the facility's zone.
INSERT INTO touched_days
SELECT DISTINCT {table}, d.day
FROM {core} AS r
CROSS JOIN LATERAL ({days}) AS d
