-- depends: 0001.schemas-and-ops

CREATE TABLE history.admissions (
    event_id              text COLLATE "C" NOT NULL,
    event_time            timestamptz NOT NULL,
    recorded_at           timestamptz NOT NULL,
    source_seq            bigint NOT NULL,
    source                text NOT NULL,
    kind                  text NOT NULL,
    patient_id            text NOT NULL,
    encounter_id          text NOT NULL,
    cancels_event_id      text,
    admission_type        text,
    admission_source      text,
    service               text,
    previous_service      text,
    service_since         timestamptz,
    insurance             text,
    language              text,
    religion              text,
    marital_status        text,
    ethnicity             text,
    admitting_diagnosis   text,
    ed_arrival_time       timestamptz,
    ed_departure_time     timestamptz,
    discharge_disposition text,
    death_time            timestamptz,
    died_in_hospital      boolean,
    movement_id           text,
    movement_type         text,
    ward                  text,
    previous_ward         text,
    care_unit             text,
    previous_care_unit    text,
    icu_stay_id           text,
    ward_until            timestamptz,
    ward_hours            double precision,
    source_system         text,
    content_hash          bytea NOT NULL,
    topic_id              text NOT NULL,
    partition             integer NOT NULL,
    "offset"              bigint NOT NULL,
    schema_id             integer NOT NULL,
    received_at           timestamptz DEFAULT now() NOT NULL,
    PRIMARY KEY (recorded_at, event_id, content_hash)
);
COMMENT ON TABLE history.admissions IS 'Every distinct fact of topic admissions, in the order of its versions. Append-only.';
COMMENT ON COLUMN history.admissions.event_id IS 'Unique for ever: the same id with the same body is the same event.';
COMMENT ON COLUMN history.admissions.event_time IS 'When it happened, UTC.';
COMMENT ON COLUMN history.admissions.recorded_at IS 'When the source wrote it down, UTC.';
COMMENT ON COLUMN history.admissions.source_seq IS 'The sender''s own counter; breaks ties within one clock tick.';
COMMENT ON COLUMN history.admissions.source IS 'The sending system.';
COMMENT ON COLUMN history.admissions.kind IS 'What is said of the thing; the allowed list is in contract.yaml.';
COMMENT ON COLUMN history.admissions.patient_id IS 'The patient''s identifier at the source.';
COMMENT ON COLUMN history.admissions.encounter_id IS 'The hospital stay.';
COMMENT ON COLUMN history.admissions.cancels_event_id IS 'For cancelled_*: the event_id of the fact that is cancelled; null takes the latest of its kind.';
COMMENT ON COLUMN history.admissions.admission_type IS 'Emergency, elective and so on, as sent.';
COMMENT ON COLUMN history.admissions.admission_source IS 'Where the patient came from.';
COMMENT ON COLUMN history.admissions.service IS 'Clinical service in charge.';
COMMENT ON COLUMN history.admissions.previous_service IS 'Service before this one.';
COMMENT ON COLUMN history.admissions.service_since IS 'When the service took charge.';
COMMENT ON COLUMN history.admissions.insurance IS 'Payer.';
COMMENT ON COLUMN history.admissions.language IS 'Preferred language.';
COMMENT ON COLUMN history.admissions.religion IS 'Religion.';
COMMENT ON COLUMN history.admissions.marital_status IS 'Marital status.';
COMMENT ON COLUMN history.admissions.ethnicity IS 'Ethnicity as recorded at this stay.';
COMMENT ON COLUMN history.admissions.admitting_diagnosis IS 'Free text written at admission.';
COMMENT ON COLUMN history.admissions.ed_arrival_time IS 'Registration in the emergency department.';
COMMENT ON COLUMN history.admissions.ed_departure_time IS 'Departure from the emergency department.';
COMMENT ON COLUMN history.admissions.discharge_disposition IS 'Where the patient went.';
COMMENT ON COLUMN history.admissions.death_time IS 'Death during the stay.';
COMMENT ON COLUMN history.admissions.died_in_hospital IS 'Whether the patient died during the stay.';
COMMENT ON COLUMN history.admissions.movement_id IS 'transferred: identity of the movement within its stay.';
COMMENT ON COLUMN history.admissions.movement_type IS 'transferred: admit, transfer or discharge; a discharge closes the bed.';
COMMENT ON COLUMN history.admissions.ward IS 'Ward entered; null on a discharge.';
COMMENT ON COLUMN history.admissions.previous_ward IS 'Ward left.';
COMMENT ON COLUMN history.admissions.care_unit IS 'Type of care unit entered.';
COMMENT ON COLUMN history.admissions.previous_care_unit IS 'Type of care unit left.';
COMMENT ON COLUMN history.admissions.icu_stay_id IS 'Intensive care stay that the movement belongs to.';
COMMENT ON COLUMN history.admissions.ward_until IS 'When the ward was left, as sent.';
COMMENT ON COLUMN history.admissions.ward_hours IS 'Hours in the ward, as sent.';
COMMENT ON COLUMN history.admissions.source_system IS 'Clinical system that the row came from.';
COMMENT ON COLUMN history.admissions.content_hash IS 'SHA-256 of the fact''s canonical form.';
COMMENT ON COLUMN history.admissions.topic_id IS 'Kafka''s id of the topic it was first committed from.';
COMMENT ON COLUMN history.admissions.partition IS 'Partition it was first committed from.';
COMMENT ON COLUMN history.admissions."offset" IS 'Offset it was first committed from.';
COMMENT ON COLUMN history.admissions.schema_id IS 'Registry id of the writer''s schema.';
COMMENT ON COLUMN history.admissions.received_at IS 'Start of the transaction that committed it.';
CREATE INDEX admissions_version ON history.admissions (encounter_id, recorded_at, source_seq, event_id, content_hash);
GRANT SELECT, INSERT ON history.admissions TO wardstream_writer;

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
COMMENT ON TABLE core.encounters IS 'One row a hospital stay, folded from all its facts that hold.';
COMMENT ON COLUMN core.encounters.encounter_id IS 'The hospital stay.';
COMMENT ON COLUMN core.encounters.patient_id IS 'The patient.';
COMMENT ON COLUMN core.encounters.status IS 'open, discharged, cancelled (the admission was taken back) or unconfirmed (no admission seen yet).';
COMMENT ON COLUMN core.encounters.admitted_at IS 'Admission; null where none holds.';
COMMENT ON COLUMN core.encounters.discharged_at IS 'Discharge; null while the stay is open.';
COMMENT ON COLUMN core.encounters.death_time IS 'Death during the stay.';
COMMENT ON COLUMN core.encounters.died_in_hospital IS 'Whether the patient died during the stay.';
COMMENT ON COLUMN core.encounters.discharge_disposition IS 'Where the patient went.';
COMMENT ON COLUMN core.encounters.admission_type IS 'Emergency, elective and so on, as sent.';
COMMENT ON COLUMN core.encounters.admission_source IS 'Where the patient came from.';
COMMENT ON COLUMN core.encounters.service IS 'Clinical service in charge.';
COMMENT ON COLUMN core.encounters.service_since IS 'When the service took charge.';
COMMENT ON COLUMN core.encounters.insurance IS 'Payer.';
COMMENT ON COLUMN core.encounters.language IS 'Preferred language.';
COMMENT ON COLUMN core.encounters.religion IS 'Religion.';
COMMENT ON COLUMN core.encounters.marital_status IS 'Marital status.';
COMMENT ON COLUMN core.encounters.ethnicity IS 'Ethnicity as recorded at this stay.';
COMMENT ON COLUMN core.encounters.admitting_diagnosis IS 'Free text written at admission.';
COMMENT ON COLUMN core.encounters.ed_arrival_time IS 'Registration in the emergency department.';
COMMENT ON COLUMN core.encounters.ed_departure_time IS 'Departure from the emergency department.';
COMMENT ON COLUMN core.encounters.ward_now IS 'Ward of an open stay: the last one entered by time of the event.';
COMMENT ON COLUMN core.encounters.care_unit_now IS 'Type of care unit of an open stay.';
COMMENT ON COLUMN core.encounters.source IS 'Sending system of the last fact that holds.';
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
COMMENT ON TABLE core.movements IS 'One row a movement between wards within a stay.';
COMMENT ON COLUMN core.movements.encounter_id IS 'The hospital stay.';
COMMENT ON COLUMN core.movements.movement_id IS 'Identity of the movement within its stay.';
COMMENT ON COLUMN core.movements.patient_id IS 'The patient.';
COMMENT ON COLUMN core.movements.status IS 'active or cancelled.';
COMMENT ON COLUMN core.movements.movement_type IS 'admit, transfer or discharge, as sent.';
COMMENT ON COLUMN core.movements.moved_at IS 'When the ward was entered, or left for good on a discharge.';
COMMENT ON COLUMN core.movements.next_moved_at IS 'When the next movement of the stay begins, or else the stay ends; null where the movement is cancelled or the last one of an open stay.';
COMMENT ON COLUMN core.movements.ward IS 'Ward entered; null on a discharge.';
COMMENT ON COLUMN core.movements.previous_ward IS 'Ward left.';
COMMENT ON COLUMN core.movements.care_unit IS 'Type of care unit entered.';
COMMENT ON COLUMN core.movements.previous_care_unit IS 'Type of care unit left.';
COMMENT ON COLUMN core.movements.icu_stay_id IS 'Intensive care stay that the movement belongs to.';
COMMENT ON COLUMN core.movements.ward_until IS 'When the ward was left, as sent.';
COMMENT ON COLUMN core.movements.ward_hours IS 'Hours in the ward, as sent.';
COMMENT ON COLUMN core.movements.source_system IS 'Clinical system that the row came from.';
COMMENT ON COLUMN core.movements.source IS 'Sending system.';
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
COMMENT ON COLUMN mart.admissions.encounter_id IS 'The hospital stay.';
COMMENT ON COLUMN mart.admissions.patient_id IS 'The patient.';
COMMENT ON COLUMN mart.admissions.status IS 'open, discharged, cancelled (the admission was taken back) or unconfirmed (no admission seen yet).';
COMMENT ON COLUMN mart.admissions.admitted_at IS 'Admission; null where none holds.';
COMMENT ON COLUMN mart.admissions.discharged_at IS 'Discharge; null while the stay is open.';
COMMENT ON COLUMN mart.admissions.length_of_stay_days IS 'Discharge minus admission in days of 24 hours; null while the stay is open.';
COMMENT ON COLUMN mart.admissions.death_time IS 'Death during the stay.';
COMMENT ON COLUMN mart.admissions.died_in_hospital IS 'Whether the patient died during the stay.';
COMMENT ON COLUMN mart.admissions.discharge_disposition IS 'Where the patient went.';
COMMENT ON COLUMN mart.admissions.admission_type IS 'Emergency, elective and so on, as sent.';
COMMENT ON COLUMN mart.admissions.admission_source IS 'Where the patient came from.';
COMMENT ON COLUMN mart.admissions.service IS 'Clinical service in charge.';
COMMENT ON COLUMN mart.admissions.service_since IS 'When the service took charge.';
COMMENT ON COLUMN mart.admissions.insurance IS 'Payer.';
COMMENT ON COLUMN mart.admissions.language IS 'Preferred language.';
COMMENT ON COLUMN mart.admissions.religion IS 'Religion.';
COMMENT ON COLUMN mart.admissions.marital_status IS 'Marital status.';
COMMENT ON COLUMN mart.admissions.ethnicity IS 'Ethnicity as recorded at this stay.';
COMMENT ON COLUMN mart.admissions.admitting_diagnosis IS 'Free text written at admission.';
COMMENT ON COLUMN mart.admissions.ed_arrival_time IS 'Registration in the emergency department.';
COMMENT ON COLUMN mart.admissions.ed_departure_time IS 'Departure from the emergency department.';
COMMENT ON COLUMN mart.admissions.ward_now IS 'Ward of an open stay: the last one entered by time of the event.';
COMMENT ON COLUMN mart.admissions.care_unit_now IS 'Type of care unit of an open stay.';
COMMENT ON COLUMN mart.admissions.source IS 'Sending system of the last fact that holds.';
GRANT SELECT ON mart.admissions TO wardstream_writer, wardstream_bi;
