-- The four schemas and the books the stream keeps: who writes, how far, what came twice, what was refused.
-- Roles wardstream_owner, wardstream_writer and wardstream_bi exist before (sql/bootstrap/roles.sql or your administrator).

CREATE SCHEMA history;
CREATE SCHEMA core;
CREATE SCHEMA ops;
CREATE SCHEMA mart;
COMMENT ON SCHEMA history IS 'Every distinct fact ever received, one table a topic. Append-only.';
COMMENT ON SCHEMA core IS 'Present state: a pure function of history (sql/folds). Not for readers outside the platform.';
COMMENT ON SCHEMA ops IS 'Ledger of offsets, duplicates, quarantine, versions of days: what the stream needs and what verify checks.';
COMMENT ON SCHEMA mart IS 'What BI tools read. Plain names, cancelled rows hidden.';

GRANT USAGE ON SCHEMA history, core, ops TO wardstream_writer;
GRANT USAGE ON SCHEMA mart TO wardstream_writer, wardstream_bi;

CREATE SEQUENCE ops.commit_seq;
COMMENT ON SEQUENCE ops.commit_seq IS 'Number of a commit, drawn under the commit lock: a later commit has the greater number. Gaps are normal.';
GRANT USAGE ON SEQUENCE ops.commit_seq TO wardstream_writer;

CREATE TABLE ops.streams (
    stream        text PRIMARY KEY,
    generation    bigint NOT NULL,
    state         text NOT NULL,
    pid           integer NOT NULL,
    backend_pids  integer[] NOT NULL,
    started_at    timestamptz NOT NULL,
    heartbeat_at  timestamptz NOT NULL,
    last_commit_at timestamptz,
    lag           jsonb NOT NULL,
    fruitless_starts integer NOT NULL DEFAULT 0
);
COMMENT ON TABLE ops.streams IS 'One row a stream: its present driver. The generation in it is the fence: a commit of an older one fails.';
COMMENT ON COLUMN ops.streams.stream IS 'Name of the stream.';
COMMENT ON COLUMN ops.streams.generation IS 'Raised by one at each start of a driver.';
COMMENT ON COLUMN ops.streams.state IS 'starting, running, stopping or stopped.';
COMMENT ON COLUMN ops.streams.pid IS 'Process id of the driver on its host.';
COMMENT ON COLUMN ops.streams.backend_pids IS 'PostgreSQL sessions of the driver; ended by the driver that takes over from it.';
COMMENT ON COLUMN ops.streams.started_at IS 'When this generation was taken.';
COMMENT ON COLUMN ops.streams.heartbeat_at IS 'Last sign of life of the driver.';
COMMENT ON COLUMN ops.streams.last_commit_at IS 'When the last batch was committed, of any generation.';
COMMENT ON COLUMN ops.streams.lag IS 'Events not yet committed, by topic and partition: {"labs": {"0": 12}}.';

COMMENT ON COLUMN ops.streams.fruitless_starts IS 'How many generations in a row ended with events waiting and nothing committed; each makes the next one''s batches ten times smaller.';

CREATE TABLE ops.ledger (
    topic_id    text NOT NULL,
    partition   integer NOT NULL,
    topic       text NOT NULL,
    next_offset bigint NOT NULL CHECK (next_offset >= 0),
    PRIMARY KEY (topic_id, partition)
);
COMMENT ON TABLE ops.ledger IS 'How far each partition is committed. Moves by compare-and-set in the transaction that stores the rows.';
COMMENT ON COLUMN ops.ledger.topic_id IS 'Kafka''s id of the topic: a topic deleted and recreated is another one.';
COMMENT ON COLUMN ops.ledger.partition IS 'Partition number.';
COMMENT ON COLUMN ops.ledger.topic IS 'Name of the topic.';
COMMENT ON COLUMN ops.ledger.next_offset IS 'The first offset that is not committed yet.';

CREATE TABLE ops.ledger_ranges (
    topic_id     text NOT NULL,
    partition    integer NOT NULL,
    start_offset bigint NOT NULL,
    end_offset   bigint NOT NULL,
    received     bigint NOT NULL,
    stored       bigint NOT NULL,
    duplicate    bigint NOT NULL,
    quarantined  bigint NOT NULL,
    generation   bigint NOT NULL,
    commit_seq   bigint NOT NULL,
    committed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic_id, partition, start_offset),
    CHECK (end_offset > start_offset),
    CHECK (received = stored + duplicate + quarantined)
);
COMMENT ON TABLE ops.ledger_ranges IS 'One row a partition and commit: the offsets it covers and where their messages went. The ranges tile each partition.';
COMMENT ON COLUMN ops.ledger_ranges.topic_id IS 'Kafka''s id of the topic.';
COMMENT ON COLUMN ops.ledger_ranges.partition IS 'Partition number.';
COMMENT ON COLUMN ops.ledger_ranges.start_offset IS 'First offset planned.';
COMMENT ON COLUMN ops.ledger_ranges.end_offset IS 'Offset after the last one planned.';
COMMENT ON COLUMN ops.ledger_ranges.received IS 'Messages read; fewer than offsets where transactions leave markers.';
COMMENT ON COLUMN ops.ledger_ranges.stored IS 'Messages that became rows of history.';
COMMENT ON COLUMN ops.ledger_ranges.duplicate IS 'Messages whose fact was in history already.';
COMMENT ON COLUMN ops.ledger_ranges.quarantined IS 'Messages refused with a reason.';
COMMENT ON COLUMN ops.ledger_ranges.generation IS 'Generation of the driver that committed.';
COMMENT ON COLUMN ops.ledger_ranges.commit_seq IS 'Number of the commit.';
COMMENT ON COLUMN ops.ledger_ranges.committed_at IS 'Start of the commit''s transaction.';

CREATE TABLE ops.duplicates (
    topic_id     text NOT NULL,
    partition    integer NOT NULL,
    "offset"     bigint NOT NULL,
    topic        text NOT NULL,
    recorded_at  timestamptz NOT NULL,
    event_id     text COLLATE "C" NOT NULL,
    content_hash bytea NOT NULL,
    PRIMARY KEY (topic_id, partition, "offset")
);
COMMENT ON TABLE ops.duplicates IS 'Messages that repeat a fact of history: where they were found and which fact they repeat.';
COMMENT ON COLUMN ops.duplicates.topic_id IS 'Kafka''s id of the topic.';
COMMENT ON COLUMN ops.duplicates.partition IS 'Partition number.';
COMMENT ON COLUMN ops.duplicates."offset" IS 'Offset of the repeating message.';
COMMENT ON COLUMN ops.duplicates.topic IS 'Name of the topic, and of its table in history.';
COMMENT ON COLUMN ops.duplicates.recorded_at IS 'Key of the fact in history, first part.';
COMMENT ON COLUMN ops.duplicates.event_id IS 'Key of the fact in history, second part.';
COMMENT ON COLUMN ops.duplicates.content_hash IS 'Key of the fact in history, third part.';

CREATE TABLE ops.quarantine (
    topic_id       text NOT NULL,
    partition      integer NOT NULL,
    "offset"       bigint NOT NULL,
    topic          text NOT NULL,
    reason         text NOT NULL,
    schema_id      integer,
    broker_time    timestamptz NOT NULL,
    key            bytea,
    value          bytea,
    commit_seq     bigint NOT NULL,
    quarantined_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic_id, partition, "offset")
);
COMMENT ON TABLE ops.quarantine IS 'Messages that could not become facts, with the reason and the original bytes. See docs/runbooks.';
COMMENT ON COLUMN ops.quarantine.topic_id IS 'Kafka''s id of the topic.';
COMMENT ON COLUMN ops.quarantine.partition IS 'Partition number.';
COMMENT ON COLUMN ops.quarantine."offset" IS 'Offset of the message.';
COMMENT ON COLUMN ops.quarantine.topic IS 'Name of the topic.';
COMMENT ON COLUMN ops.quarantine.reason IS 'Stable code, with the field where there is one: bad_avro, missing:lab_result_id, sqlstate:22003.';
COMMENT ON COLUMN ops.quarantine.schema_id IS 'Schema id in the message, where it could be read.';
COMMENT ON COLUMN ops.quarantine.broker_time IS 'When the broker appended the message.';
COMMENT ON COLUMN ops.quarantine.key IS 'The message''s key, as it was. May name a patient.';
COMMENT ON COLUMN ops.quarantine.value IS 'The message''s value, as it was. May hold patient data.';
COMMENT ON COLUMN ops.quarantine.commit_seq IS 'Number of the commit.';
COMMENT ON COLUMN ops.quarantine.quarantined_at IS 'Start of the commit''s transaction.';

CREATE TABLE ops.schema_ids (
    schema_id     integer NOT NULL,
    topic         text NOT NULL,
    fingerprint   bigint NOT NULL,
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (schema_id, topic)
);
COMMENT ON TABLE ops.schema_ids IS 'Schema ids met in messages and what they meant then: an id that changes its meaning stops the stream.';
COMMENT ON COLUMN ops.schema_ids.schema_id IS 'Id in the registry.';
COMMENT ON COLUMN ops.schema_ids.topic IS 'Topic in whose messages it was met.';
COMMENT ON COLUMN ops.schema_ids.fingerprint IS 'First 8 bytes of the SHA-256 of the schema''s canonical form.';
COMMENT ON COLUMN ops.schema_ids.first_seen_at IS 'Commit that met it first.';

CREATE TABLE ops.gaps (
    topic_id     text NOT NULL,
    partition    integer NOT NULL,
    start_offset bigint NOT NULL,
    end_offset   bigint NOT NULL,
    topic        text NOT NULL,
    reason       text NOT NULL,
    accepted_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic_id, partition, start_offset),
    CHECK (end_offset > start_offset)
);
COMMENT ON TABLE ops.gaps IS 'Offsets that were lost before they could be read and that somebody accepted as lost. verify names them.';
COMMENT ON COLUMN ops.gaps.topic_id IS 'Kafka''s id of the topic.';
COMMENT ON COLUMN ops.gaps.partition IS 'Partition number.';
COMMENT ON COLUMN ops.gaps.start_offset IS 'First offset lost.';
COMMENT ON COLUMN ops.gaps.end_offset IS 'Offset after the last one lost.';
COMMENT ON COLUMN ops.gaps.topic IS 'Name of the topic.';
COMMENT ON COLUMN ops.gaps.reason IS 'Why, in the words of whoever accepted it.';
COMMENT ON COLUMN ops.gaps.accepted_at IS 'When it was accepted.';

CREATE TABLE ops.day_versions (
    core_table text NOT NULL,
    day        date NOT NULL,
    version    bigint NOT NULL,
    PRIMARY KEY (core_table, day)
);
COMMENT ON TABLE ops.day_versions IS 'Days (facility''s zone) whose rows of a core table changed, and the last commit that changed them.';
COMMENT ON COLUMN ops.day_versions.core_table IS 'Table in schema core.';
COMMENT ON COLUMN ops.day_versions.day IS 'Calendar day in the facility''s zone.';
COMMENT ON COLUMN ops.day_versions.version IS 'ops.commit_seq of that commit.';

GRANT SELECT ON ALL TABLES IN SCHEMA ops TO wardstream_writer;
GRANT INSERT ON ops.streams, ops.ledger, ops.ledger_ranges, ops.duplicates, ops.quarantine, ops.schema_ids, ops.gaps, ops.day_versions TO wardstream_writer;
GRANT UPDATE ON ops.streams, ops.ledger, ops.day_versions TO wardstream_writer;
