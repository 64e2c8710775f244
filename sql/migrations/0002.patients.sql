-- depends: 0001.schemas-and-ops

CREATE TABLE history.patients (
    event_id            text COLLATE "C" NOT NULL,
    event_time          timestamptz NOT NULL,
    recorded_at         timestamptz NOT NULL,
    source_seq          bigint NOT NULL,
    source              text NOT NULL,
    kind                text NOT NULL,
    patient_id          text NOT NULL,
    gender              text,
    birth_date          date,
    death_date          date,
    death_date_hospital date,
    death_date_registry date,
    deceased            boolean,
    content_hash        bytea NOT NULL,
    topic_id            text NOT NULL,
    partition           integer NOT NULL,
    "offset"            bigint NOT NULL,
    schema_id           integer NOT NULL,
    received_at         timestamptz DEFAULT now() NOT NULL,
    PRIMARY KEY (recorded_at, event_id, content_hash)
);
COMMENT ON TABLE history.patients IS 'Every distinct fact of topic patients, in the order of its versions. Append-only.';
COMMENT ON COLUMN history.patients.event_id IS 'Unique for ever: the same id with the same body is the same event.';
COMMENT ON COLUMN history.patients.event_time IS 'When it happened, UTC.';
COMMENT ON COLUMN history.patients.recorded_at IS 'When the source wrote it down, UTC.';
COMMENT ON COLUMN history.patients.source_seq IS 'The sender''s own counter; breaks ties within one clock tick.';
COMMENT ON COLUMN history.patients.source IS 'The sending system.';
COMMENT ON COLUMN history.patients.kind IS 'What is said of the thing; the allowed list is in contract.yaml.';
COMMENT ON COLUMN history.patients.patient_id IS 'The patient''s identifier at the source.';
COMMENT ON COLUMN history.patients.gender IS 'Administrative gender as sent.';
COMMENT ON COLUMN history.patients.birth_date IS 'Date of birth.';
COMMENT ON COLUMN history.patients.death_date IS 'Date of death, from any source.';
COMMENT ON COLUMN history.patients.death_date_hospital IS 'Date of death in the hospital''s own records.';
COMMENT ON COLUMN history.patients.death_date_registry IS 'Date of death in a public death registry.';
COMMENT ON COLUMN history.patients.deceased IS 'Whether the person is known to have died.';
COMMENT ON COLUMN history.patients.content_hash IS 'SHA-256 of the fact''s canonical form.';
COMMENT ON COLUMN history.patients.topic_id IS 'Kafka''s id of the topic it was first committed from.';
COMMENT ON COLUMN history.patients.partition IS 'Partition it was first committed from.';
COMMENT ON COLUMN history.patients."offset" IS 'Offset it was first committed from.';
COMMENT ON COLUMN history.patients.schema_id IS 'Registry id of the writer''s schema.';
COMMENT ON COLUMN history.patients.received_at IS 'Start of the transaction that committed it.';
CREATE INDEX patients_version ON history.patients (patient_id, recorded_at, source_seq, event_id, content_hash);
GRANT SELECT, INSERT ON history.patients TO wardstream_writer;

CREATE TABLE core.patients (
    patient_id          text NOT NULL,
    status              text NOT NULL,
    gender              text,
    birth_date          date,
    death_date          date,
    death_date_hospital date,
    death_date_registry date,
    deceased            boolean,
    registered_at       timestamptz,
    source              text NOT NULL,
    PRIMARY KEY (patient_id)
);
COMMENT ON TABLE core.patients IS 'One row a person: the greatest version of what was said of them.';
COMMENT ON COLUMN core.patients.patient_id IS 'Identifier of the person at the source.';
COMMENT ON COLUMN core.patients.status IS 'active or cancelled.';
COMMENT ON COLUMN core.patients.gender IS 'Administrative gender as sent.';
COMMENT ON COLUMN core.patients.birth_date IS 'Date of birth.';
COMMENT ON COLUMN core.patients.death_date IS 'Date of death, from any source.';
COMMENT ON COLUMN core.patients.death_date_hospital IS 'Date of death in the hospital''s own records.';
COMMENT ON COLUMN core.patients.death_date_registry IS 'Date of death in a public death registry.';
COMMENT ON COLUMN core.patients.deceased IS 'Whether the person is known to have died.';
COMMENT ON COLUMN core.patients.registered_at IS 'Time of the fact that holds.';
COMMENT ON COLUMN core.patients.source IS 'Sending system.';
GRANT SELECT, INSERT, UPDATE, DELETE ON core.patients TO wardstream_writer;

CREATE VIEW mart.patients AS
SELECT
    patient_id,
    gender,
    birth_date,
    death_date,
    death_date_hospital,
    death_date_registry,
    deceased,
    source
FROM core.patients
WHERE status <> 'cancelled';
COMMENT ON VIEW mart.patients IS 'People known to the hospital, one row each.';
COMMENT ON COLUMN mart.patients.patient_id IS 'Identifier of the person at the source.';
COMMENT ON COLUMN mart.patients.gender IS 'Administrative gender as sent.';
COMMENT ON COLUMN mart.patients.birth_date IS 'Date of birth.';
COMMENT ON COLUMN mart.patients.death_date IS 'Date of death, from any source.';
COMMENT ON COLUMN mart.patients.death_date_hospital IS 'Date of death in the hospital''s own records.';
COMMENT ON COLUMN mart.patients.death_date_registry IS 'Date of death in a public death registry.';
COMMENT ON COLUMN mart.patients.deceased IS 'Whether the person is known to have died.';
COMMENT ON COLUMN mart.patients.source IS 'Sending system.';
GRANT SELECT ON mart.patients TO wardstream_writer, wardstream_bi;
