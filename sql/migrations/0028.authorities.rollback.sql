DROP VIEW mart.patients;
DROP VIEW mart.admissions;
DROP VIEW mart.diagnoses;
DROP VIEW mart.labs;
ALTER TABLE core.patients
    DROP CONSTRAINT patients_pkey,
    ADD PRIMARY KEY (patient_id),
    DROP COLUMN authority;
ALTER TABLE core.encounters
    DROP CONSTRAINT encounters_pkey,
    ADD PRIMARY KEY (encounter_id),
    DROP COLUMN authority;
ALTER TABLE core.movements
    DROP CONSTRAINT movements_pkey,
    ADD PRIMARY KEY (encounter_id, movement_id),
    DROP COLUMN authority;
ALTER TABLE core.diagnoses
    DROP CONSTRAINT diagnoses_pkey,
    ADD PRIMARY KEY (diagnosis_id),
    DROP COLUMN authority;
ALTER TABLE core.lab_results
    DROP CONSTRAINT lab_results_pkey,
    ADD PRIMARY KEY (lab_result_id),
    DROP COLUMN authority;
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
GRANT SELECT ON mart.patients TO wardstream_writer, wardstream_bi;

CREATE VIEW mart.admissions AS
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
    (discharged_at AT TIME ZONE (SELECT timezone FROM ops.facility))::date AS discharged_day
FROM core.encounters
WHERE status IN ('open', 'discharged');
GRANT SELECT ON mart.admissions TO wardstream_writer, wardstream_bi;

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
    source,
    (coded_at AT TIME ZONE (SELECT timezone FROM ops.facility))::date AS coded_day
FROM core.diagnoses
WHERE status <> 'cancelled';
GRANT SELECT ON mart.diagnoses TO wardstream_writer, wardstream_bi;

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
    source,
    (observed_at AT TIME ZONE (SELECT timezone FROM ops.facility))::date AS observed_day
FROM core.lab_results
WHERE status <> 'cancelled';
GRANT SELECT ON mart.labs TO wardstream_writer, wardstream_bi;

-- `wardstream migrate` gave the tables of history their authority: with it goes what an id was sent as, put back.
DO $$
DECLARE
    history regclass;
    id text;
BEGIN
    FOR history IN
        SELECT attrelid::regclass FROM pg_attribute
        WHERE attname = 'ids_as_sent'
            AND NOT attisdropped
            AND attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'history'::regnamespace AND relkind = 'r')
    LOOP
        FOR id IN EXECUTE format('SELECT DISTINCT jsonb_object_keys(ids_as_sent) FROM %s', history) LOOP
            EXECUTE format('UPDATE %s SET %I = ids_as_sent ->> %L WHERE ids_as_sent ? %L', history, id, id, id);
        END LOOP;
        EXECUTE format('ALTER TABLE %s DROP COLUMN authority, DROP COLUMN ids_as_sent', history);
    END LOOP;
END
$$;

DROP FUNCTION IF EXISTS mart.text_key(text, text, integer);
DROP TABLE ops.sources;
LOCK TABLE ops.commit_lock IN EXCLUSIVE MODE;
UPDATE ops.streams SET generation = generation + 1;
