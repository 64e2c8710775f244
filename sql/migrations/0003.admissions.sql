-- depends: 0001.schemas-and-ops

CREATE TABLE core.encounters (
    encounter_id          text NOT NULL,
    patient_id            text NOT NULL,
    status                text NOT NULL,
    admitted_at           timestamptz,
    discharged_at         timestamptz,
    death_time            timestamptz,
    died_in_hospital      boolean,
    discharge_disposition text,
    admission_type        text,
    admission_source      text,
    service               text,
    service_since         timestamptz,
    insurance             text,
    language              text,
    religion              text,
    marital_status        text,
    ethnicity             text,
    admitting_diagnosis   text,
    ed_arrival_time       timestamptz,
    ed_departure_time     timestamptz,
    ward_now              text,
    care_unit_now         text,
    source                text NOT NULL,
    PRIMARY KEY (encounter_id)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON core.encounters TO wardstream_writer;

CREATE TABLE core.movements (
    encounter_id       text NOT NULL,
    movement_id        text NOT NULL,
    patient_id         text NOT NULL,
    status             text NOT NULL,
    movement_type      text,
    moved_at           timestamptz NOT NULL,
    next_moved_at      timestamptz,
    ward               text,
    previous_ward      text,
    care_unit          text,
    previous_care_unit text,
    icu_stay_id        text,
    ward_until         timestamptz,
    ward_hours         double precision,
    source_system      text,
    source             text NOT NULL,
    PRIMARY KEY (encounter_id, movement_id)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON core.movements TO wardstream_writer;

CREATE VIEW mart.admissions AS
SELECT
    encounter_id,
    patient_id,
    status,
    admitted_at,
    discharged_at,
    round((extract(epoch FROM discharged_at - admitted_at) / 86400)::numeric, 4) AS length_of_stay_days,
    death_time,
    died_in_hospital,
    discharge_disposition,
    admission_type,
    admission_source,
    service,
    service_since,
    insurance,
    language,
    religion,
    marital_status,
    ethnicity,
    admitting_diagnosis,
    ed_arrival_time,
    ed_departure_time,
    ward_now,
    care_unit_now,
    source
FROM core.encounters
WHERE status IN ('open', 'discharged');
COMMENT ON VIEW mart.admissions IS 'Hospital stays, one row each; cancelled and unconfirmed ones are hidden.';
COMMENT ON COLUMN mart.admissions.length_of_stay_days IS 'Discharge minus admission in days of 24 hours; null while the stay is open.';
GRANT SELECT ON mart.admissions TO wardstream_writer, wardstream_bi;
