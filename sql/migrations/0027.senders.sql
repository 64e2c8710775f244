-- depends: 0001.schemas-and-ops
-- Who sends to a topic, and in which rhythm: so that one of several senders that falls silent is noticed.

CREATE TABLE ops.senders (
    topic         text NOT NULL,
    source        text NOT NULL,
    messages      bigint NOT NULL,
    first_at      timestamptz NOT NULL,
    last_at       timestamptz NOT NULL,
    longest_pause interval NOT NULL DEFAULT interval '0',
    PRIMARY KEY (topic, source)
);
COMMENT ON TABLE ops.senders IS 'One row a topic and sending system, kept by each commit: when it sent, and how long it pauses. Times are the broker''s.';
COMMENT ON COLUMN ops.senders.topic IS 'Name of the topic.';
COMMENT ON COLUMN ops.senders.source IS 'The sending system, as its events say.';
COMMENT ON COLUMN ops.senders.messages IS 'Events committed, repeats among them.';
COMMENT ON COLUMN ops.senders.first_at IS 'When the broker appended the first of them.';
COMMENT ON COLUMN ops.senders.last_at IS 'When the broker appended the newest of them.';
COMMENT ON COLUMN ops.senders.longest_pause IS 'Longest time between two commits of its events, of late: it halves in a week, and one outage no more than doubles it.';
GRANT SELECT, INSERT, UPDATE ON ops.senders TO wardstream_writer;
