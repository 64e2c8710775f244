-- Fence: move every planned partition from its planned start to its planned end, while the generation is ours.
-- The caller compares the number of rows with the number of partitions and rolls back when one is missing.
UPDATE ops.ledger AS l
SET next_offset = s.end_offset, newest = greatest(l.newest, s.newest)
FROM unnest(
    %(topic_ids)s::text[], %(partitions)s::integer[], %(starts)s::bigint[], %(ends)s::bigint[],
    %(newest)s::timestamptz[]
) AS s (topic_id, partition, start_offset, end_offset, newest)
WHERE l.topic_id = s.topic_id
    AND l.partition = s.partition
    AND l.next_offset = s.start_offset
    AND EXISTS (SELECT FROM ops.streams WHERE stream = %(stream)s AND generation = %(generation)s)
