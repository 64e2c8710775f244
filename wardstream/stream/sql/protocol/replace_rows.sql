-- What the fold gives takes the place of the rows of the touched entities, and changed rows mark their days, as they were and
-- as they become, each in the facility of its source: a greater version alone is nothing that a day shows.
-- A row that the fold no longer gives leaves core. *<> compares stored bytes: 0.0 and -0.0 differ, so that core cannot depend
-- on which of them came first. OFFSET 0 keeps core behind its index: the planner, which knows no sizes of temporary tables,
-- would read all of it. A row that is new has nothing to differ from: null.
WITH gone AS (
    DELETE FROM {core}
    WHERE ({pk}) IN (
        SELECT {core_pk}
        FROM touched AS t
        CROSS JOIN LATERAL (
            SELECT {one_pk} FROM {core} AS one WHERE (one.authority, one.{key}) = (t.authority, t.key) OFFSET 0
        ) AS c
        WHERE NOT EXISTS (SELECT FROM {folded} AS f WHERE ({folded_pk}) = ({core_pk}))
    )
    RETURNING {placed}
),

changed AS (
    INSERT INTO {core} AS c ({columns})
    SELECT {columns} FROM {folded}
    ON CONFLICT ({pk}) DO UPDATE
    SET ({columns}) = ROW({excluded})
    WHERE c *<> excluded
    RETURNING
        CASE WHEN old.authority IS NOT NULL THEN ROW({old_facts})::record *<> ROW({new_facts})::record END AS differs,
        {old_placed},
        {new_placed}
)

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
