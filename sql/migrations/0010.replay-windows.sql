-- depends: 0001.schemas-and-ops
-- Where replayed data lies that was moved in time: fixed at first use, so that a repeat sends the very same events.

CREATE TABLE ops.replay_windows (
    source   text PRIMARY KEY,
    days     integer NOT NULL CHECK (days > 0),
    ends_at  timestamptz NOT NULL,
    timezone text NOT NULL
);
COMMENT ON TABLE ops.replay_windows IS 'One row a source that was replayed with --recent: the window its patients were moved into. Never changed: another window would move the same stays a second time.';
COMMENT ON COLUMN ops.replay_windows.source IS 'The source, as its events name it: mimic-iii.';
COMMENT ON COLUMN ops.replay_windows.days IS 'Length of the window, days of 24 hours.';
COMMENT ON COLUMN ops.replay_windows.ends_at IS 'Where the window ends: the minute of the first use. No event of the source is later.';
COMMENT ON COLUMN ops.replay_windows.timezone IS 'Zone by whose clock the patients were moved whole weeks, an IANA name.';
GRANT SELECT, INSERT ON ops.replay_windows TO wardstream_writer;
