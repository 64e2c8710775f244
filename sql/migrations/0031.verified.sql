-- depends: 0022.quarantine-and-stale-days 0029.core-by-version
-- What verify has compared with Kafka before, so that it need not read it again.

CREATE TABLE ops.verified (
    topic_id        text NOT NULL,
    partition       integer NOT NULL,
    start_offset    bigint NOT NULL,
    end_offset      bigint NOT NULL,
    form            text NOT NULL,
    stored          bigint NOT NULL,
    stored_sum      numeric NOT NULL,
    duplicate       bigint NOT NULL,
    duplicate_sum   numeric NOT NULL,
    quarantined     bigint NOT NULL,
    quarantined_sum numeric NOT NULL,
    verified_at     timestamptz NOT NULL,
    PRIMARY KEY (topic_id, partition, start_offset),
    CHECK (end_offset > start_offset)
);
COMMENT ON TABLE ops.verified IS 'Offsets that verify has compared with Kafka without a finding, and what their rows were: later they are summed and not read again. Written by verify alone. May be emptied: all is read again then.';
COMMENT ON COLUMN ops.verified.topic_id IS 'Kafka''s id of the topic.';
COMMENT ON COLUMN ops.verified.partition IS 'Partition number.';
COMMENT ON COLUMN ops.verified.start_offset IS 'First offset compared.';
COMMENT ON COLUMN ops.verified.end_offset IS 'Offset after the last one compared.';
COMMENT ON COLUMN ops.verified.form IS 'What was summed: a hash of the columns and of PostgreSQL''s major version. Sums of another form say nothing.';
COMMENT ON COLUMN ops.verified.stored IS 'Rows of history.';
COMMENT ON COLUMN ops.verified.stored_sum IS 'Sum of their hashes, the same in any order.';
COMMENT ON COLUMN ops.verified.duplicate IS 'Rows of ops.duplicates.';
COMMENT ON COLUMN ops.verified.duplicate_sum IS 'Sum of their hashes.';
COMMENT ON COLUMN ops.verified.quarantined IS 'Rows of ops.quarantine.';
COMMENT ON COLUMN ops.verified.quarantined_sum IS 'Sum of their hashes, without what `wardstream quarantine discard` notes.';
COMMENT ON COLUMN ops.verified.verified_at IS 'When the oldest of these offsets was compared.';
