-- What became of the offsets of one partition; the table itself checks that the counts add up.
INSERT INTO ops.ledger_ranges
    (topic_id, partition, start_offset, end_offset, received, stored, duplicate, quarantined, generation, commit_seq)
VALUES (
    %(topic_id)s, %(partition)s, %(start)s, %(end)s,
    %(received)s, %(stored)s, %(duplicate)s, %(quarantined)s, %(generation)s, %(seq)s
)
