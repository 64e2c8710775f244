-- What the fold gives takes the place of the rows of the touched entities: one that it no longer gives leaves core. The first part
-- of a statement; mark_rows.sql or mark_stays.sql goes on with the days of what is gone or changed.
-- *<> compares stored bytes: 0.0 and -0.0 differ, so that core cannot depend on which of them came first. OFFSET 0 keeps core
-- behind its index: the planner, which knows no sizes of temporary tables, would read all of it. A row that is new has nothing
-- to differ from: null.
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
        CASE WHEN old.authority IS NOT NULL THEN ROW({old_compared})::record *<> ROW({new_compared})::record END AS differs,
        {old_placed},
        {new_placed}
)
