-- Where the ranges of one partition do not follow one another: `before` is where those so far end (null for the
-- first one). Accepted gaps are listed, too; one without an end ends nothing. One row as a rule, however many commits
-- there were.
WITH ranges AS (
    SELECT start_offset, end_offset, NULL AS gap
    FROM ops.ledger_ranges
    WHERE topic_id = %(topic_id)s AND partition = %(partition)s
    UNION ALL
    SELECT start_offset, end_offset, reason
    FROM ops.gaps
    WHERE topic_id = %(topic_id)s AND partition = %(partition)s
),

followed AS (
    SELECT
        start_offset,
        end_offset,
        gap,
        max(end_offset) OVER (
            ORDER BY start_offset, end_offset ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS before,
        max(end_offset) OVER () AS last
    FROM ranges
)

SELECT start_offset, end_offset, gap, before, last
FROM followed
WHERE before IS NULL OR before <> start_offset OR gap IS NOT NULL
ORDER BY start_offset, end_offset
