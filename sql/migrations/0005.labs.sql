-- depends: 0001.schemas-and-ops

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
GRANT SELECT ON mart.labs TO wardstream_writer, wardstream_bi;
