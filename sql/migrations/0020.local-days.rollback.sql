DROP VIEW mart.admissions;
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
COMMENT ON COLUMN mart.admissions.status IS 'open, discharged, cancelled (the admission was cancelled) or unconfirmed (no admission seen yet).';
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

DROP VIEW mart.diagnoses;
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
COMMENT ON COLUMN mart.diagnoses.diagnosis_id IS 'Identity at the sender.';
COMMENT ON COLUMN mart.diagnoses.patient_id IS 'The patient.';
COMMENT ON COLUMN mart.diagnoses.encounter_id IS 'The stay.';
COMMENT ON COLUMN mart.diagnoses.status IS 'final, corrected or cancelled.';
COMMENT ON COLUMN mart.diagnoses.coded_at IS 'When the diagnosis was coded.';
COMMENT ON COLUMN mart.diagnoses.code IS 'The code without a dot.';
COMMENT ON COLUMN mart.diagnoses.code_system IS 'Which code list the code is from.';
COMMENT ON COLUMN mart.diagnoses.sequence IS 'Priority within the stay, 1 is first.';
COMMENT ON COLUMN mart.diagnoses.short_title IS 'Short title of the code.';
COMMENT ON COLUMN mart.diagnoses.title IS 'Long title of the code.';
COMMENT ON COLUMN mart.diagnoses.source IS 'Sending system.';
GRANT SELECT ON mart.diagnoses TO wardstream_writer, wardstream_bi;

DROP VIEW mart.labs;
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
COMMENT ON COLUMN mart.labs.lab_result_id IS 'Identity at the sender.';
COMMENT ON COLUMN mart.labs.patient_id IS 'The patient.';
COMMENT ON COLUMN mart.labs.encounter_id IS 'The stay, where the result belongs to one.';
COMMENT ON COLUMN mart.labs.status IS 'final, corrected or cancelled.';
COMMENT ON COLUMN mart.labs.observed_at IS 'Clinically relevant time of the result.';
COMMENT ON COLUMN mart.labs.test_code IS 'The laboratory''s code of the test.';
COMMENT ON COLUMN mart.labs.test_name IS 'Name of the test.';
COMMENT ON COLUMN mart.labs.specimen IS 'What was examined.';
COMMENT ON COLUMN mart.labs.category IS 'Section of the laboratory.';
COMMENT ON COLUMN mart.labs.loinc_code IS 'LOINC code, where known.';
COMMENT ON COLUMN mart.labs.value_text IS 'The value exactly as sent.';
COMMENT ON COLUMN mart.labs.value_number IS 'The value as a number, where it is one.';
COMMENT ON COLUMN mart.labs.unit IS 'Unit of the number, as sent.';
COMMENT ON COLUMN mart.labs.flag IS 'Flag of the laboratory.';
COMMENT ON COLUMN mart.labs.ordered_at IS 'When the test was ordered.';
COMMENT ON COLUMN mart.labs.collected_at IS 'When the specimen was taken.';
COMMENT ON COLUMN mart.labs.reported_at IS 'When the result was released.';
COMMENT ON COLUMN mart.labs.source IS 'Sending system.';
GRANT SELECT ON mart.labs TO wardstream_writer, wardstream_bi;
