-- Keys of rows that core holds and the refold does not give, the other way round, or that differ in a byte.
SELECT concat_ws('/', {pk})
FROM {core} AS c
FULL JOIN {folded} AS f USING ({pk})
WHERE c.{key} IS NULL OR f.{key} IS NULL OR c *<> f
ORDER BY 1
