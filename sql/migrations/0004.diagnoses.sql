-- depends: 0001.schemas-and-ops

CREATE TABLE history.diagnoses (
    event_id     text COLLATE "C" NOT NULL,
    event_time   timestamptz NOT NULL,
    recorded_at  timestamptz NOT NULL,
    source_seq   bigint NOT NULL,
    source       text NOT NULL,
    kind         text NOT NULL,
    patient_id   text NOT NULL,
    encounter_id text NOT NULL,
    diagnosis_id text NOT NULL,
    code         text,
    code_system  text,
    sequence     integer,
    short_title  text,
    title        text,
    content_hash bytea NOT NULL,
    topic_id     text NOT NULL,
    partition    integer NOT NULL,
    "offset"     bigint NOT NULL,
    schema_id    integer NOT NULL,
    received_at  timestamptz DEFAULT now() NOT NULL,
    PRIMARY KEY (recorded_at, event_id, content_hash)
);
COMMENT ON TABLE history.diagnoses IS 'Every distinct fact of topic diagnoses, in the order of its versions. Append-only.';
COMMENT ON COLUMN history.diagnoses.event_id IS 'Unique for ever: the same id with the same body is the same event.';
COMMENT ON COLUMN history.diagnoses.event_time IS 'When it happened, UTC.';
COMMENT ON COLUMN history.diagnoses.recorded_at IS 'When the source wrote it down, UTC.';
COMMENT ON COLUMN history.diagnoses.source_seq IS 'The sender''s own counter; breaks ties within one clock tick.';
COMMENT ON COLUMN history.diagnoses.source IS 'The sending system.';
COMMENT ON COLUMN history.diagnoses.kind IS 'What is said of the thing; the allowed list is in contract.yaml.';
COMMENT ON COLUMN history.diagnoses.patient_id IS 'The patient''s identifier at the source.';
COMMENT ON COLUMN history.diagnoses.encounter_id IS 'The hospital stay.';
COMMENT ON COLUMN history.diagnoses.diagnosis_id IS 'Identity of the diagnosis at the sender.';
COMMENT ON COLUMN history.diagnoses.code IS 'The code without a dot, as sent.';
COMMENT ON COLUMN history.diagnoses.code_system IS 'Which code list the code is from, such as ICD-9-CM.';
COMMENT ON COLUMN history.diagnoses.sequence IS 'Priority within the stay, 1 is first.';
COMMENT ON COLUMN history.diagnoses.short_title IS 'Short title of the code.';
COMMENT ON COLUMN history.diagnoses.title IS 'Long title of the code.';
COMMENT ON COLUMN history.diagnoses.content_hash IS 'SHA-256 of the fact''s canonical form.';
COMMENT ON COLUMN history.diagnoses.topic_id IS 'Kafka''s id of the topic it was first committed from.';
COMMENT ON COLUMN history.diagnoses.partition IS 'Partition it was first committed from.';
COMMENT ON COLUMN history.diagnoses."offset" IS 'Offset it was first committed from.';
COMMENT ON COLUMN history.diagnoses.schema_id IS 'Registry id of the writer''s schema.';
COMMENT ON COLUMN history.diagnoses.received_at IS 'Start of the transaction that committed it.';
CREATE INDEX diagnoses_version ON history.diagnoses (diagnosis_id, recorded_at, source_seq, event_id, content_hash);
GRANT SELECT, INSERT ON history.diagnoses TO wardstream_writer;

CREATE TABLE core.diagnoses (
    diagnosis_id text NOT NULL,
    patient_id   text NOT NULL,
    encounter_id text,
    status       text NOT NULL,
    coded_at     timestamptz,
    code         text,
    code_system  text,
    sequence     integer,
    short_title  text,
    title        text,
    source       text NOT NULL,
    PRIMARY KEY (diagnosis_id)
);
COMMENT ON TABLE core.diagnoses IS 'One row a coded diagnosis: the greatest version of it.';
COMMENT ON COLUMN core.diagnoses.diagnosis_id IS 'Identity at the sender.';
COMMENT ON COLUMN core.diagnoses.patient_id IS 'The patient.';
COMMENT ON COLUMN core.diagnoses.encounter_id IS 'The stay.';
COMMENT ON COLUMN core.diagnoses.status IS 'final, corrected or cancelled.';
COMMENT ON COLUMN core.diagnoses.coded_at IS 'When the diagnosis was coded.';
COMMENT ON COLUMN core.diagnoses.code IS 'The code without a dot.';
COMMENT ON COLUMN core.diagnoses.code_system IS 'Which code list the code is from.';
COMMENT ON COLUMN core.diagnoses.sequence IS 'Priority within the stay, 1 is first.';
COMMENT ON COLUMN core.diagnoses.short_title IS 'Short title of the code.';
COMMENT ON COLUMN core.diagnoses.title IS 'Long title of the code.';
COMMENT ON COLUMN core.diagnoses.source IS 'Sending system.';
GRANT SELECT, INSERT, UPDATE, DELETE ON core.diagnoses TO wardstream_writer;

CREATE VIEW mart.diagnoses AS
SELECT
    diagnosis_id,
    patient_id,
    encounter_id,
    status,
    coded_at,
    code,
    code_system,
    sequence,
    short_title,
    title,
    source
FROM core.diagnoses
WHERE status <> 'cancelled';
COMMENT ON VIEW mart.diagnoses IS 'Coded diagnoses, one row each; cancelled ones are hidden.';
COMMENT ON COLUMN mart.diagnoses.diagnosis_id IS 'Identity at the sender.';
COMMENT ON COLUMN mart.diagnoses.patient_id IS 'The patient.';
COMMENT ON COLUMN mart.diagnoses.encounter_id IS 'The stay.';
COMMENT ON COLUMN mart.diagnoses.status IS 'final, corrected or cancelled.';
COMMENT ON COLUMN mart.diagnoses.coded_at IS 'When the diagnosis was coded.';
COMMENT ON COLUMN mart.diagnoses.code IS 'The code without a dot.';
COMMENT ON COLUMN mart.diagnoses.code_system IS 'Which code list the code is from.';
COMMENT ON COLUMN mart.diagnoses.sequence IS 'Priority within the stay, 1 is first.';
COMMENT ON COLUMN mart.diagnoses.short_title IS 'Short title of the code.';
COMMENT ON COLUMN mart.diagnoses.title IS 'Long title of the code.';
COMMENT ON COLUMN mart.diagnoses.source IS 'Sending system.';
GRANT SELECT ON mart.diagnoses TO wardstream_writer, wardstream_bi;
