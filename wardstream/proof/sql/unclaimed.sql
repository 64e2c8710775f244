-- Rows of {rows} that no message accounts for, from the first offset that could still be read.
SELECT s.partition, s."offset"
FROM {rows} AS s
INNER JOIN readable AS b ON b.topic_id = s.topic_id AND b.partition = s.partition AND s."offset" >= b.start_offset
LEFT JOIN placed AS p
    ON (p.topic_id, p.partition, p."offset", p.place) = (s.topic_id, s.partition, s."offset", {place})
WHERE p.place IS NULL AND b.topic = {topic}
ORDER BY s.partition, s."offset"
