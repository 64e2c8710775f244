-- Sources of {core} that have no facility: their rows would be counted on no day.
SELECT DISTINCT c.source
FROM {core} AS c
WHERE NOT EXISTS (SELECT FROM ops.sources AS s WHERE s.source = c.source)
ORDER BY c.source
