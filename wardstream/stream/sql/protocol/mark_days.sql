-- Days of every row that says something else than before, as it was and as it becomes, each in the facility of its source: a
-- greater version alone is nothing that a day shows. *<> compares stored bytes: 0.0 and -0.0 differ, so that core cannot
-- depend on which of them came first.
-- OFFSET 0 keeps core behind its index: the planner, which knows no sizes of temporary tables, would read all of it.
INSERT INTO touched_days
SELECT DISTINCT {table}, of_r.facility, d.day
FROM (
    SELECT c.*
    FROM touched AS t
    CROSS JOIN LATERAL (SELECT * FROM {core} AS one WHERE (one.authority, one.{key}) = (t.authority, t.key) OFFSET 0) AS c
    LEFT JOIN {folded} AS f ON ({folded_pk}) = ({core_pk})
    WHERE f.{key} IS NULL OR ROW({core_facts})::record *<> ROW({folded_facts})::record
    UNION ALL
    SELECT f.*
    FROM {folded} AS f
    LEFT JOIN LATERAL (SELECT * FROM {core} AS one WHERE ({one_pk}) = ({folded_pk}) OFFSET 0) AS c ON true
    WHERE c.{key} IS NULL OR ROW({core_facts})::record *<> ROW({folded_facts})::record
) AS r
INNER JOIN ops.calendars AS of_r USING (source)
CROSS JOIN LATERAL ({days}) AS d
