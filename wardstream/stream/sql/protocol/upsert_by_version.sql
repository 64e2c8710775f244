-- Where one fact says all: what is staged replaces what core holds, if its version is greater. History is not read.
-- Days of every row that says something else than before, as it was and as it becomes, in the facility of its source: a greater version alone is
-- nothing that a day shows. *<> compares stored bytes, as in replace_core. A row that is new has nothing to differ from: null.
WITH changed AS (
    INSERT INTO {core} AS c ({columns})
    SELECT {columns}
    FROM (
        {greatest}
    ) AS q
    ON CONFLICT ({pk}) DO UPDATE
    SET ({columns}) = ROW({excluded})
    WHERE ({excluded_version}) > ({core_version})
    RETURNING
        CASE WHEN old.authority IS NOT NULL THEN ROW({old_facts})::record *<> ROW({new_facts})::record END AS differs,
        {old_placed},
        {new_placed}
)

INSERT INTO touched_days
SELECT DISTINCT {table}, of_r.facility, d.day
FROM (
    SELECT {was_placed} FROM changed WHERE differs
    UNION ALL
    SELECT {now_placed} FROM changed WHERE differs IS NOT FALSE
) AS r
INNER JOIN ops.calendars AS of_r USING (source)
CROSS JOIN LATERAL ({days}) AS d
