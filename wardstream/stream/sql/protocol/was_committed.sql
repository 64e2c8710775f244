-- How many of these ranges this generation has committed; all or none, since they share a transaction.
SELECT count(*)
FROM ops.ledger_ranges AS r
INNER JOIN unnest(
    %(topic_ids)s::text[], %(partitions)s::integer[], %(starts)s::bigint[], %(ends)s::bigint[]
) AS s (topic_id, partition, start_offset, end_offset) USING (topic_id, partition, start_offset, end_offset)
WHERE r.generation = %(generation)s
