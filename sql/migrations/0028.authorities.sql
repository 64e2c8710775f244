-- depends: 0020.local-days 0024.locks 0027.senders
-- A business key is an id together with the authority that assigned it (schemas/sources.yaml): core and mart carry it.
-- `wardstream migrate` fills it in: history and core have the sources, the file has their authorities.

CREATE TABLE ops.sources (
    source      text PRIMARY KEY,
    authority   text NOT NULL,
    ignore_case boolean NOT NULL
);
COMMENT ON TABLE ops.sources IS 'The sources of which history has facts, and whose ids they use, as those facts are stored. `wardstream migrate` brings both to what schemas/sources.yaml says.';
COMMENT ON COLUMN ops.sources.source IS 'The sending system, as sent.';
COMMENT ON COLUMN ops.sources.authority IS 'Whose ids it uses.';
COMMENT ON COLUMN ops.sources.ignore_case IS 'Whether the letters A to Z of these ids count alike, small or capital.';
GRANT SELECT, INSERT ON ops.sources TO wardstream_writer;

ALTER TABLE core.patients
    ADD COLUMN authority text NOT NULL DEFAULT '',
    DROP CONSTRAINT patients_pkey,
    ADD PRIMARY KEY (authority, patient_id);
ALTER TABLE core.patients ALTER COLUMN authority DROP DEFAULT;
ALTER TABLE core.encounters
    ADD COLUMN authority text NOT NULL DEFAULT '',
    DROP CONSTRAINT encounters_pkey,
    ADD PRIMARY KEY (authority, encounter_id);
ALTER TABLE core.encounters ALTER COLUMN authority DROP DEFAULT;
ALTER TABLE core.movements
    ADD COLUMN authority text NOT NULL DEFAULT '',
    DROP CONSTRAINT movements_pkey,
    ADD PRIMARY KEY (authority, encounter_id, movement_id);
ALTER TABLE core.movements ALTER COLUMN authority DROP DEFAULT;
ALTER TABLE core.diagnoses
    ADD COLUMN authority text NOT NULL DEFAULT '',
    DROP CONSTRAINT diagnoses_pkey,
    ADD PRIMARY KEY (authority, diagnosis_id);
ALTER TABLE core.diagnoses ALTER COLUMN authority DROP DEFAULT;
ALTER TABLE core.lab_results
    ADD COLUMN authority text NOT NULL DEFAULT '',
    DROP CONSTRAINT lab_results_pkey,
    ADD PRIMARY KEY (authority, lab_result_id);
ALTER TABLE core.lab_results ALTER COLUMN authority DROP DEFAULT;

CREATE OR REPLACE VIEW mart.patients AS
SELECT
    patient_id,
    gender,
    birth_date,
    death_date,
    death_date_hospital,
    death_date_registry,
    deceased,
    source,
    authority
FROM core.patients
WHERE status <> 'cancelled';

CREATE OR REPLACE VIEW mart.admissions AS
SELECT
    encounter_id,
    patient_id,
    status,
    admitted_at,
    discharged_at,
    CASE
        WHEN discharged_at >= admitted_at
            THEN round((extract(epoch FROM discharged_at - admitted_at) / 86400)::numeric, 4)
    END AS length_of_stay_days,
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
    source,
    (admitted_at AT TIME ZONE (SELECT timezone FROM ops.facility))::date AS admitted_day,
    (discharged_at AT TIME ZONE (SELECT timezone FROM ops.facility))::date AS discharged_day,
    authority
FROM core.encounters
WHERE status IN ('open', 'discharged');

CREATE OR REPLACE VIEW mart.diagnoses AS
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
    source,
    (coded_at AT TIME ZONE (SELECT timezone FROM ops.facility))::date AS coded_day,
    authority
FROM core.diagnoses
WHERE status <> 'cancelled';

CREATE OR REPLACE VIEW mart.labs AS
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
    source,
    (observed_at AT TIME ZONE (SELECT timezone FROM ops.facility))::date AS observed_day,
    authority
FROM core.lab_results
WHERE status <> 'cancelled';

-- A driver of the version before knows no authority. Its commit is waited for, and its next one is fenced.
LOCK TABLE ops.commit_lock IN EXCLUSIVE MODE;
UPDATE ops.streams SET generation = generation + 1;
