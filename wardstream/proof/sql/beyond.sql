-- Rows of {rows} of a partition from where its ledger is: no commit has put them there.
SELECT s."offset"
FROM {rows} AS s
INNER JOIN ops.ledger AS l ON l.topic_id = s.topic_id AND l.partition = s.partition
WHERE s.topic_id = %(topic_id)s AND s.partition = %(partition)s AND s."offset" >= l.next_offset
ORDER BY s."offset"
