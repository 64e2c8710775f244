-- depends: 0001.schemas-and-ops 0007.daily
-- What nobody attends to is noticed: messages in quarantine that nobody has decided about, and days that stay stale.

ALTER TABLE ops.quarantine
    ADD COLUMN discarded_at timestamptz,
    ADD COLUMN discarded_by text,
    ADD COLUMN discard_note text,
    ADD CONSTRAINT discarded_by_somebody CHECK (num_nulls(discarded_at, discarded_by, discard_note) IN (0, 3));
COMMENT ON COLUMN ops.quarantine.discarded_at IS 'When somebody decided that nothing more is to be done about the message (`wardstream quarantine discard`); null: it waits. The row stays: it is the account of its offset.';
COMMENT ON COLUMN ops.quarantine.discarded_by IS 'Who decided: the account and the host of the command.';
COMMENT ON COLUMN ops.quarantine.discard_note IS 'Why, in the words of whoever decided.';
CREATE INDEX quarantine_waiting ON ops.quarantine (topic, quarantined_at) WHERE discarded_at IS NULL;

CREATE TABLE ops.stale_days (
    mart_table text NOT NULL,
    day        date NOT NULL,
    built_at   timestamptz,
    seen_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (mart_table, day)
);
COMMENT ON TABLE ops.stale_days IS 'Days that were stale at the last look, and since when: ops.day_versions keeps only the newest change of a day. A memory of stream_reconcile_dag and `wardstream status`; may be emptied.';
COMMENT ON COLUMN ops.stale_days.mart_table IS 'Table in schema mart.';
COMMENT ON COLUMN ops.stale_days.day IS 'Calendar day in the facility''s zone.';
COMMENT ON COLUMN ops.stale_days.built_at IS 'ops.day_builds.built_at at that look: a younger build begins a new count. Null: never built.';
COMMENT ON COLUMN ops.stale_days.seen_at IS 'The first look that found the day stale since that build.';
GRANT SELECT, INSERT, UPDATE, DELETE ON ops.stale_days TO wardstream_writer;
