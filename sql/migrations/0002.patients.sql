-- depends: 0001.schemas-and-ops

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
GRANT SELECT ON mart.patients TO wardstream_writer, wardstream_bi;
