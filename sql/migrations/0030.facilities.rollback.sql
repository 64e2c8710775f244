-- The default facility is kept; the days of the others, which the version before cannot name, are forgotten. Their rows
-- count in the one facility then: it is given a zone that it has not, so that the next `wardstream migrate` makes every
-- day stale.
DROP VIEW mart.patients;
DROP VIEW mart.admissions;
DROP VIEW mart.diagnoses;
DROP VIEW mart.labs;
DROP VIEW ops.calendars;

DELETE FROM mart.daily_admissions WHERE facility <> (SELECT default_facility FROM ops.hospital);
ALTER TABLE mart.daily_admissions
    DROP CONSTRAINT daily_admissions_pkey,
    DROP COLUMN facility,
    ADD PRIMARY KEY (day, service, admission_type);
DELETE FROM mart.daily_diagnoses WHERE facility <> (SELECT default_facility FROM ops.hospital);
ALTER TABLE mart.daily_diagnoses
    DROP CONSTRAINT daily_diagnoses_pkey,
    DROP COLUMN facility,
    ADD PRIMARY KEY (day, code_system, code);
DELETE FROM mart.daily_labs WHERE facility <> (SELECT default_facility FROM ops.hospital);
ALTER TABLE mart.daily_labs
    DROP CONSTRAINT daily_labs_pkey,
    DROP COLUMN facility,
    ADD PRIMARY KEY (day, test_code, unit);

-- A day that any facility has is a day, and stays as stale as it was.
INSERT INTO ops.day_versions (core_table, facility, day, version)
SELECT core_table, (SELECT default_facility FROM ops.hospital), day, max(version)
FROM ops.day_versions
GROUP BY core_table, day
ON CONFLICT (core_table, facility, day) DO UPDATE SET version = excluded.version;
DELETE FROM ops.day_versions WHERE facility <> (SELECT default_facility FROM ops.hospital);
ALTER TABLE ops.day_versions
    DROP CONSTRAINT day_versions_pkey,
    DROP COLUMN facility,
    ADD PRIMARY KEY (core_table, day);
DELETE FROM ops.day_builds WHERE facility <> (SELECT default_facility FROM ops.hospital);
ALTER TABLE ops.day_builds
    DROP CONSTRAINT day_builds_pkey,
    DROP COLUMN facility,
    ADD PRIMARY KEY (mart_table, day);
DELETE FROM ops.stale_days WHERE facility <> (SELECT default_facility FROM ops.hospital);
ALTER TABLE ops.stale_days
    DROP CONSTRAINT stale_days_pkey,
    DROP COLUMN facility,
    ADD PRIMARY KEY (mart_table, day);

ALTER TABLE ops.sources DROP COLUMN facility;
UPDATE ops.facilities
SET timezone = CASE timezone WHEN 'Etc/UTC' THEN 'UTC' ELSE 'Etc/UTC' END
WHERE timezone = '' OR (SELECT count(*) FROM ops.facilities) > 1;
DELETE FROM ops.facilities WHERE facility <> (SELECT default_facility FROM ops.hospital);
ALTER TABLE ops.hospital DROP CONSTRAINT hospital_default_facility_fkey;
ALTER TABLE ops.facilities
    DROP CONSTRAINT facilities_pkey,
    DROP COLUMN facility,
    ADD COLUMN one boolean PRIMARY KEY DEFAULT true CHECK (one),
    ADD COLUMN same_day_stay_days integer;
UPDATE ops.facilities SET same_day_stay_days = (SELECT same_day_stay_days FROM ops.hospital);
ALTER TABLE ops.facilities
    ALTER COLUMN same_day_stay_days SET NOT NULL,
    ADD CHECK (same_day_stay_days IN (0, 1));
ALTER TABLE ops.facilities RENAME TO facility;
COMMENT ON TABLE ops.facility IS 'One row: what every day depends on. `wardstream migrate` puts the settings here; commits and builds read it here, so that no two of them can differ.';
COMMENT ON COLUMN ops.facility.one IS 'Always true: there is one row.';
COMMENT ON COLUMN ops.facility.timezone IS 'Zone whose calendar days count, an IANA name (WARDSTREAM_FACILITY_TIMEZONE).';
COMMENT ON COLUMN ops.facility.same_day_stay_days IS 'Length in days of a stay that ends on the day it began: 1 as CMS counts, 0 as others do (WARDSTREAM_SAME_DAY_STAY_DAYS).';
COMMENT ON COLUMN ops.facility.since IS 'ops.commit_seq of the change that made the row what it is: every build with a smaller version is stale.';
DROP TABLE ops.hospital;

CREATE VIEW mart.patients AS
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
    (discharged_at AT TIME ZONE (SELECT timezone FROM ops.facility))::date AS discharged_day,
    authority
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
    (coded_at AT TIME ZONE (SELECT timezone FROM ops.facility))::date AS coded_day,
    authority
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
    (observed_at AT TIME ZONE (SELECT timezone FROM ops.facility))::date AS observed_day,
    authority
FROM core.lab_results
WHERE status <> 'cancelled';
GRANT SELECT ON mart.labs TO wardstream_writer, wardstream_bi;

LOCK TABLE ops.commit_lock IN EXCLUSIVE MODE;
UPDATE ops.streams SET generation = generation + 1;
