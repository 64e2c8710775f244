-- depends: 0013.words
-- Days of the facility's calendar beside the timestamps that BI groups by, and no length for a stay that ends before
-- it begins: it is no number, and its times are still there to be seen.

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
    (discharged_at AT TIME ZONE (SELECT timezone FROM ops.facility))::date AS discharged_day
FROM core.encounters
WHERE status IN ('open', 'discharged');
COMMENT ON COLUMN mart.admissions.length_of_stay_days IS 'Discharge minus admission in days of 24 hours; null while the stay is open, and where the discharge lies before the admission. mart.daily_admissions counts midnights instead (los_days_sum, alos_days): discharged_day minus admitted_day, as hospitals report it.';
COMMENT ON COLUMN mart.admissions.admitted_day IS 'Calendar day of the admission in the facility''s zone: the day it counts on in mart.daily_admissions.';
COMMENT ON COLUMN mart.admissions.discharged_day IS 'Calendar day of the discharge in the facility''s zone: the day it counts on in mart.daily_admissions.';

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
    (coded_at AT TIME ZONE (SELECT timezone FROM ops.facility))::date AS coded_day
FROM core.diagnoses
WHERE status <> 'cancelled';
COMMENT ON COLUMN mart.diagnoses.coded_day IS 'Calendar day of the coding in the facility''s zone: the day it counts on in mart.daily_diagnoses.';

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
    (observed_at AT TIME ZONE (SELECT timezone FROM ops.facility))::date AS observed_day
FROM core.lab_results
WHERE status <> 'cancelled';
COMMENT ON COLUMN mart.labs.observed_day IS 'Calendar day of observed_at in the facility''s zone: the day it counts on in mart.daily_labs.';
