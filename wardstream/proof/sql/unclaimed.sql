-- Rows of {rows} in a piece of a partition that no message of it accounts for; of two at one offset, the one that was
-- not found.
SELECT s."offset"
FROM {rows} AS s
LEFT JOIN placed AS p ON p."offset" = s."offset" AND p.place = {place} AND p.hash = {hash}
WHERE s.topic_id = %(topic_id)s
    AND s.partition = %(partition)s
    AND s."offset" >= %(start)s
    AND s."offset" < %(end)s
    AND p.place IS NULL
ORDER BY s."offset"
