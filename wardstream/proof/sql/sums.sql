-- One pass over {rows}: of each piece of a partition how many rows there are, and the sum of their hashes. `filed`: the
-- ledger knows the partition under the topic the rows are filed under. `beyond`: rows from where the ledger is now.
-- Pieces are VALUES, and found by {cell} offsets at a time: parallel workers see no temporary table, and from an expression
-- over offsets the planner would expect as many groups as rows, and leave all of the work to one process.
SELECT
    s.topic_id,
    s.partition,
    l.topic_id IS NOT NULL AS filed,
    p.piece,
    count(*),
    sum({hash}),
    min(s."offset"),
    count(*) FILTER (WHERE s."offset" >= l.next_offset) AS beyond
FROM {rows} AS s
LEFT JOIN (VALUES {pieces}) AS p (topic_id, partition, cell, piece, start_offset, end_offset)
    ON p.topic_id = s.topic_id
    AND p.partition = s.partition
    AND p.cell = s."offset" / {cell}
    AND s."offset" >= p.start_offset
    AND s."offset" < p.end_offset
LEFT JOIN ops.ledger AS l ON l.topic_id = s.topic_id AND l.partition = s.partition AND l.topic = {topic}
GROUP BY s.topic_id, s.partition, filed, p.piece
