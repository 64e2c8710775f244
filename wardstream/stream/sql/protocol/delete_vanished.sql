-- A touched entity that the fold no longer gives leaves core.
DELETE FROM {core} AS c
USING touched AS t
WHERE c.{key} = t.key
    AND NOT EXISTS (SELECT FROM {folded} AS f WHERE ({folded_pk}) = ({core_pk}))
