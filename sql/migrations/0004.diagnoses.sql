-- depends: 0001.schemas-and-ops

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
GRANT SELECT ON mart.diagnoses TO wardstream_writer, wardstream_bi;
