-- Whether core is what a fold of greatest versions gives, in one pass over history and without a look-up for each key:
-- how many facts no row of core is above, and how many of them core does not say. A row of core has the version of its
-- fact, so that where each of these facts is said by core, and there are as many as core has rows, core has the
-- greatest version of every key and nothing else.
SELECT
    count(*) AS not_below,
    count(*) FILTER (WHERE c.{key} IS NULL OR q.{key} IS NULL OR ROW({core_row})::record *<> ROW({folded_row})::record) AS differing
FROM {history} AS h
LEFT JOIN {core} AS c ON c.{key} = h.{key} AND c.authority = h.authority
LEFT JOIN LATERAL (
WITH greatest_version AS (SELECT h.*)
{fold}
) AS q ON true
WHERE h.{key} IS NOT NULL AND (c.{key} IS NULL OR ({history_version}) >= ({core_version}))
