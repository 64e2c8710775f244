-- depends: 0001.schemas-and-ops

CREATE TABLE history.bed_surveys (
    event_id text COLLATE "C" NOT NULL,
    event_time timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    source_seq bigint NOT NULL,
    source text NOT NULL,
    kind text NOT NULL,
    patient_id text NOT NULL,
    encounter_id text NOT NULL,
    survey_id text NOT NULL,
    bed jsonb,
    surveyed_on date,
    note text,
    content_hash bytea NOT NULL,
    topic_id text NOT NULL,
    partition integer NOT NULL,
    "offset" bigint NOT NULL,
    schema_id integer NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (recorded_at, event_id, content_hash)
);
CREATE INDEX bed_surveys_version ON history.bed_surveys (survey_id, recorded_at, source_seq, event_id, content_hash);
GRANT SELECT, INSERT ON history.bed_surveys TO wardstream_writer;

CREATE TABLE core.bed_surveys (
    survey_id text PRIMARY KEY,
    patient_id text NOT NULL,
    status text NOT NULL,
    room text,
    bed_number integer,
    surveyed_on date,
    surveyed_at timestamptz NOT NULL,
    note text
);
GRANT SELECT, INSERT, UPDATE, DELETE ON core.bed_surveys TO wardstream_writer;
