-- Rows of {rows} from a topic id and partition that the ledger does not know under the topic they are filed under.
SELECT s.topic_id, s.partition, min(s."offset")
FROM {rows} AS s
LEFT JOIN ops.ledger AS l ON l.topic_id = s.topic_id AND l.partition = s.partition AND l.topic = {topic}
WHERE l.topic_id IS NULL
GROUP BY s.topic_id, s.partition
ORDER BY s.topic_id, s.partition
