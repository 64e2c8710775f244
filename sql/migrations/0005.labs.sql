-- depends: 0001.schemas-and-ops

CREATE TABLE history.labs (
    event_id      text COLLATE "C" NOT NULL,
    event_time    timestamptz NOT NULL,
    recorded_at   timestamptz NOT NULL,
    source_seq    bigint NOT NULL,
    source        text NOT NULL,
    kind          text NOT NULL,
    patient_id    text NOT NULL,
    encounter_id  text,
    lab_result_id text NOT NULL,
    test_code     text,
    test_name     text,
    specimen      text,
    category      text,
    loinc_code    text,
    value_text    text,
    value_number  double precision,
    unit          text,
    flag          text,
    ordered_at    timestamptz,
    collected_at  timestamptz,
    reported_at   timestamptz,
    content_hash  bytea NOT NULL,
    topic_id      text NOT NULL,
    partition     integer NOT NULL,
    "offset"      bigint NOT NULL,
    schema_id     integer NOT NULL,
    received_at   timestamptz DEFAULT now() NOT NULL,
    PRIMARY KEY (recorded_at, event_id, content_hash)
);
COMMENT ON TABLE history.labs IS 'Every distinct fact of topic labs, in the order of its versions. Append-only.';
COMMENT ON COLUMN history.labs.event_id IS 'Unique for ever: the same id with the same body is the same event.';
COMMENT ON COLUMN history.labs.event_time IS 'When it happened, UTC.';
COMMENT ON COLUMN history.labs.recorded_at IS 'When the source wrote it down, UTC.';
COMMENT ON COLUMN history.labs.source_seq IS 'The sender''s own counter; breaks ties within one clock tick.';
COMMENT ON COLUMN history.labs.source IS 'The sending system.';
COMMENT ON COLUMN history.labs.kind IS 'What is said of the thing; the allowed list is in contract.yaml.';
COMMENT ON COLUMN history.labs.patient_id IS 'The patient''s identifier at the source.';
COMMENT ON COLUMN history.labs.encounter_id IS 'The hospital stay, where the result belongs to one.';
COMMENT ON COLUMN history.labs.lab_result_id IS 'The sender''s own row identity of the result.';
COMMENT ON COLUMN history.labs.test_code IS 'The laboratory''s code of the test.';
COMMENT ON COLUMN history.labs.test_name IS 'Name of the test.';
COMMENT ON COLUMN history.labs.specimen IS 'What was examined: blood, urine and so on.';
COMMENT ON COLUMN history.labs.category IS 'Section of the laboratory.';
COMMENT ON COLUMN history.labs.loinc_code IS 'LOINC code of the test, where known.';
COMMENT ON COLUMN history.labs.value_text IS 'The value exactly as sent.';
COMMENT ON COLUMN history.labs.value_number IS 'The value as a number, where it is one.';
COMMENT ON COLUMN history.labs.unit IS 'Unit of the number, as sent.';
COMMENT ON COLUMN history.labs.flag IS 'Flag of the laboratory, such as abnormal or delta.';
COMMENT ON COLUMN history.labs.ordered_at IS 'When the test was ordered.';
COMMENT ON COLUMN history.labs.collected_at IS 'When the specimen was taken.';
COMMENT ON COLUMN history.labs.reported_at IS 'When the result was released.';
COMMENT ON COLUMN history.labs.content_hash IS 'SHA-256 of the fact''s canonical form.';
COMMENT ON COLUMN history.labs.topic_id IS 'Kafka''s id of the topic it was first committed from.';
COMMENT ON COLUMN history.labs.partition IS 'Partition it was first committed from.';
COMMENT ON COLUMN history.labs."offset" IS 'Offset it was first committed from.';
COMMENT ON COLUMN history.labs.schema_id IS 'Registry id of the writer''s schema.';
COMMENT ON COLUMN history.labs.received_at IS 'Start of the transaction that committed it.';
CREATE INDEX labs_version ON history.labs (lab_result_id, recorded_at, source_seq, event_id, content_hash);
GRANT SELECT, INSERT ON history.labs TO wardstream_writer;

CREATE TABLE core.lab_results (
    lab_result_id text NOT NULL,
    patient_id    text NOT NULL,
    encounter_id  text,
    status        text NOT NULL,
    observed_at   timestamptz,
    test_code     text,
    test_name     text,
    specimen      text,
    category      text,
    loinc_code    text,
    value_text    text,
    value_number  double precision,
    unit          text,
    flag          text,
    ordered_at    timestamptz,
    collected_at  timestamptz,
    reported_at   timestamptz,
    source        text NOT NULL,
    PRIMARY KEY (lab_result_id)
);
COMMENT ON TABLE core.lab_results IS 'One row a laboratory result: the greatest version of it.';
COMMENT ON COLUMN core.lab_results.lab_result_id IS 'Identity at the sender.';
COMMENT ON COLUMN core.lab_results.patient_id IS 'The patient.';
COMMENT ON COLUMN core.lab_results.encounter_id IS 'The stay, where the result belongs to one.';
COMMENT ON COLUMN core.lab_results.status IS 'final, corrected or cancelled.';
COMMENT ON COLUMN core.lab_results.observed_at IS 'Clinically relevant time of the result.';
COMMENT ON COLUMN core.lab_results.test_code IS 'The laboratory''s code of the test.';
COMMENT ON COLUMN core.lab_results.test_name IS 'Name of the test.';
COMMENT ON COLUMN core.lab_results.specimen IS 'What was examined.';
COMMENT ON COLUMN core.lab_results.category IS 'Section of the laboratory.';
COMMENT ON COLUMN core.lab_results.loinc_code IS 'LOINC code, where known.';
COMMENT ON COLUMN core.lab_results.value_text IS 'The value exactly as sent.';
COMMENT ON COLUMN core.lab_results.value_number IS 'The value as a number, where it is one.';
COMMENT ON COLUMN core.lab_results.unit IS 'Unit of the number, as sent.';
COMMENT ON COLUMN core.lab_results.flag IS 'Flag of the laboratory.';
COMMENT ON COLUMN core.lab_results.ordered_at IS 'When the test was ordered.';
COMMENT ON COLUMN core.lab_results.collected_at IS 'When the specimen was taken.';
COMMENT ON COLUMN core.lab_results.reported_at IS 'When the result was released.';
COMMENT ON COLUMN core.lab_results.source IS 'Sending system.';
GRANT SELECT, INSERT, UPDATE, DELETE ON core.lab_results TO wardstream_writer;

CREATE VIEW mart.labs AS
SELECT
    lab_result_id,
    patient_id,
    encounter_id,
    status,
    observed_at,
    test_code,
    test_name,
    specimen,
    category,
    loinc_code,
    value_text,
    value_number,
    unit,
    flag,
    ordered_at,
    collected_at,
    reported_at,
    source
FROM core.lab_results
WHERE status <> 'cancelled';
COMMENT ON VIEW mart.labs IS 'Laboratory results, one row each; cancelled ones are hidden.';
COMMENT ON COLUMN mart.labs.lab_result_id IS 'Identity at the sender.';
COMMENT ON COLUMN mart.labs.patient_id IS 'The patient.';
COMMENT ON COLUMN mart.labs.encounter_id IS 'The stay, where the result belongs to one.';
COMMENT ON COLUMN mart.labs.status IS 'final, corrected or cancelled.';
COMMENT ON COLUMN mart.labs.observed_at IS 'Clinically relevant time of the result.';
COMMENT ON COLUMN mart.labs.test_code IS 'The laboratory''s code of the test.';
COMMENT ON COLUMN mart.labs.test_name IS 'Name of the test.';
COMMENT ON COLUMN mart.labs.specimen IS 'What was examined.';
COMMENT ON COLUMN mart.labs.category IS 'Section of the laboratory.';
COMMENT ON COLUMN mart.labs.loinc_code IS 'LOINC code, where known.';
COMMENT ON COLUMN mart.labs.value_text IS 'The value exactly as sent.';
COMMENT ON COLUMN mart.labs.value_number IS 'The value as a number, where it is one.';
COMMENT ON COLUMN mart.labs.unit IS 'Unit of the number, as sent.';
COMMENT ON COLUMN mart.labs.flag IS 'Flag of the laboratory.';
COMMENT ON COLUMN mart.labs.ordered_at IS 'When the test was ordered.';
COMMENT ON COLUMN mart.labs.collected_at IS 'When the specimen was taken.';
COMMENT ON COLUMN mart.labs.reported_at IS 'When the result was released.';
COMMENT ON COLUMN mart.labs.source IS 'Sending system.';
GRANT SELECT ON mart.labs TO wardstream_writer, wardstream_bi;
