-- depends: 0001.schemas-and-ops
-- By which fold each core table was filled, so that a changed one is noticed before verify finds that core differs.

CREATE TABLE ops.folds (
    core_table text PRIMARY KEY,
    fold       text NOT NULL,
    since      timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE ops.folds IS 'The fold that every row of a core table comes from. Written where there is no fact yet, and by `wardstream rebuild`.';
COMMENT ON COLUMN ops.folds.core_table IS 'Table in schema core.';
COMMENT ON COLUMN ops.folds.fold IS 'SHA-256 of the fold in sql/folds, with its header and what it includes. If the file has another one, `wardstream rebuild` is due.';
COMMENT ON COLUMN ops.folds.since IS 'When it was written.';
GRANT SELECT ON ops.folds TO wardstream_writer;
