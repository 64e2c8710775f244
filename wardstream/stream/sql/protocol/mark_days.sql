-- Days of every row that changes, as it was and as it becomes. *<> compares stored bytes: 0.0 and -0.0 differ, so
-- that core cannot depend on which of them came first.
INSERT INTO touched_days
SELECT {table}, d.day
FROM (
    SELECT c.*
    FROM touched AS t
    INNER JOIN {core} AS c ON c.{key} = t.key
    LEFT JOIN {folded} AS f ON ({folded_pk}) = ({core_pk})
    WHERE f.{key} IS NULL OR c *<> f
    UNION ALL
    SELECT f.*
    FROM {folded} AS f
    LEFT JOIN {core} AS c ON ({folded_pk}) = ({core_pk})
    WHERE c.{key} IS NULL OR c *<> f
) AS r
CROSS JOIN LATERAL ({days}) AS d
