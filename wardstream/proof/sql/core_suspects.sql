-- Entities whose row of core may not be what a fold of greatest versions gives, without a look-up for each key: where a
-- fact that no row of core is above is not what core says, and where no fact has the version of the row. None of the
-- others: their row has the version of one fact, and if that one is what core says and none is above, it is the
-- greatest. A fold that leaves facts out makes more of them suspects than are wrong.
SELECT h.authority, h.{key} AS key
FROM {history} AS h
LEFT JOIN {core} AS c ON c.{key} = h.{key} AND c.authority = h.authority
LEFT JOIN LATERAL (
WITH greatest_version AS (SELECT h.*)
{fold}
) AS q ON true
WHERE h.{key} IS NOT NULL
    AND (c.{key} IS NULL OR ({history_version}) >= ({core_version}))
    AND (c.{key} IS NULL OR q.{key} IS NULL OR ROW({core_row})::record *<> ROW({folded_row})::record)
UNION
SELECT c.authority, c.{key}
FROM {core} AS c
WHERE NOT EXISTS (
    SELECT FROM {history} AS h
    WHERE h.{key} = c.{key} AND h.authority = c.authority AND ({history_version}) = ({core_version})
)
