-- Of the touched entities those of which core holds a row that the refold does not give, the other way round, or one that
-- differs in a byte; and the key of that row.
SELECT authority, {key} AS key, concat_ws('/', {pk}) AS of_row
FROM (
    SELECT *
    FROM {core} AS one
    WHERE EXISTS (SELECT FROM touched AS t WHERE t.authority = one.authority AND t.key = one.{key})
) AS c
FULL JOIN {folded} AS f USING ({pk})
WHERE c.{key} IS NULL OR f.{key} IS NULL OR c *<> f
ORDER BY of_row
