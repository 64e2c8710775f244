-- depends: 0001.schemas-and-ops
-- What the stream should do, who asked for it, and what is needed to tell whether it does.

CREATE TABLE ops.stream_control (
    stream                text PRIMARY KEY,
    desired               text NOT NULL CHECK (desired IN ('running', 'drained', 'stopped')),
    revision              bigint NOT NULL DEFAULT 0,
    restarts              bigint NOT NULL DEFAULT 0,
    drain_to              jsonb,
    generation_at_request bigint NOT NULL DEFAULT 0,
    requested_by          text NOT NULL,
    requested_at          timestamptz NOT NULL DEFAULT now(),
    waiting_pid           integer,
    waiting_seen_at       timestamptz,
    CHECK ((desired = 'drained') = (drain_to IS NOT NULL))
);
COMMENT ON TABLE ops.stream_control IS 'One row a stream: what it should do. Set by wardstream stream … and by Airflow, read by the stream''s process.';
COMMENT ON COLUMN ops.stream_control.stream IS 'Name of the stream.';
COMMENT ON COLUMN ops.stream_control.desired IS 'running; drained: commit up to drain_to, then no driver; stopped: finish the batch, then no driver.';
COMMENT ON COLUMN ops.stream_control.revision IS 'Raised by one by each request.';
COMMENT ON COLUMN ops.stream_control.restarts IS 'Raised by each request for a restart: a driver that began under a smaller number leaves after its batch.';
COMMENT ON COLUMN ops.stream_control.drain_to IS 'Where Kafka''s partitions ended when a drain was asked for: {topic id: {partition: end}}. Null unless drained.';
COMMENT ON COLUMN ops.stream_control.generation_at_request IS 'ops.streams.generation at the time of the request.';
COMMENT ON COLUMN ops.stream_control.requested_by IS 'Who asked: a run of a DAG, or a call of the command line.';
COMMENT ON COLUMN ops.stream_control.requested_at IS 'When.';
COMMENT ON COLUMN ops.stream_control.waiting_pid IS 'Process that waits for its turn, on its host.';
COMMENT ON COLUMN ops.stream_control.waiting_seen_at IS 'Its last sign of life; it goes still while a driver runs.';

INSERT INTO ops.stream_control (stream, desired, requested_by) VALUES ('main', 'running', 'migration');

CREATE TABLE ops.stream_requests (
    stream       text NOT NULL REFERENCES ops.stream_control ON DELETE CASCADE,
    requested_by text NOT NULL,
    action       text NOT NULL CHECK (action IN ('start', 'drain', 'stop', 'restart')),
    revision     bigint NOT NULL,
    requested_at timestamptz NOT NULL,
    PRIMARY KEY (stream, requested_by)
);
COMMENT ON TABLE ops.stream_requests IS 'Every request for a state of a stream: who asked for what, and when. The same requester asks once: a repeated task changes nothing.';
COMMENT ON COLUMN ops.stream_requests.stream IS 'Name of the stream.';
COMMENT ON COLUMN ops.stream_requests.requested_by IS 'Who asked; unique, so that a request that is sent again is known.';
COMMENT ON COLUMN ops.stream_requests.action IS 'start, drain, stop or restart.';
COMMENT ON COLUMN ops.stream_requests.revision IS 'The revision of ops.stream_control that it made.';
COMMENT ON COLUMN ops.stream_requests.requested_at IS 'When it was first asked.';

ALTER TABLE ops.streams
    ADD COLUMN restarts bigint NOT NULL DEFAULT 0,
    ADD COLUMN recent_starts timestamptz[] NOT NULL DEFAULT '{}',
    ADD COLUMN behind_since jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN caught_up_at timestamptz;
COMMENT ON COLUMN ops.streams.state IS 'starting, running, stopping; stopped: it left as asked; failed: it left because it had to.';
COMMENT ON COLUMN ops.streams.restarts IS 'ops.stream_control.restarts as this driver knew it when it began.';
COMMENT ON COLUMN ops.streams.recent_starts IS 'When the last drivers began, newest first, back to the last one that left as asked; at most ten.';
COMMENT ON COLUMN ops.streams.behind_since IS 'Topics whose oldest event that is not committed waits for longer than the contract''s freshness, and since when it does: {"labs": "2026-03-02T08:15:00+00:00"}.';
COMMENT ON COLUMN ops.streams.caught_up_at IS 'When this driver last saw nothing left to commit; null before the first time.';

GRANT SELECT, INSERT, UPDATE ON ops.stream_control TO wardstream_writer;
GRANT SELECT, INSERT ON ops.stream_requests TO wardstream_writer;
