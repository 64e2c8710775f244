-- A touched entity that the fold no longer gives leaves core.
DELETE FROM {core}
WHERE ({pk}) IN (
    SELECT {core_pk}
    FROM touched AS t
    CROSS JOIN LATERAL (SELECT * FROM {core} AS one WHERE (one.authority, one.{key}) = (t.authority, t.key) OFFSET 0) AS c
    WHERE NOT EXISTS (SELECT FROM {folded} AS f WHERE ({folded_pk}) = ({core_pk}))
)
