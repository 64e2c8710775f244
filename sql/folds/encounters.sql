-- core.encounters: one row a hospital stay, folded from its facts that hold. A stay with no such fact has no row.
-- topics: admissions
-- key: encounter_id
-- days: admitted_at .. discharged_at
WITH
-- include: admission_facts.sql
,

latest AS (
    SELECT DISTINCT ON (encounter_id) encounter_id, patient_id, source
    FROM standing
    ORDER BY encounter_id, pos DESC
),

-- Each of these restates the whole registration, so the greatest version says all of it.
registration AS (
    SELECT DISTINCT ON (encounter_id) *
    FROM standing
    WHERE kind IN ('admitted', 'updated')
    ORDER BY encounter_id, pos DESC
),

-- Where the patient is follows the clock of the hospital, not the order in which it was written down.
place AS (
    SELECT DISTINCT ON (encounter_id) encounter_id, ward, care_unit
    FROM standing
    WHERE kind = 'transferred' OR (kind = 'admitted' AND ward IS NOT NULL)
    ORDER BY encounter_id, event_time DESC, pos DESC
)

SELECT
    l.encounter_id,
    l.patient_id,
    CASE
        WHEN a.encounter_id IS NULL AND gone.encounter_id IS NOT NULL THEN 'cancelled'
        WHEN a.encounter_id IS NULL THEN 'unconfirmed'
        WHEN d.encounter_id IS NOT NULL THEN 'discharged'
        ELSE 'open'
    END AS status,
    a.event_time AS admitted_at,
    d.event_time AS discharged_at,
    d.death_time,
    d.died_in_hospital,
    d.discharge_disposition,
    r.admission_type,
    r.admission_source,
    r.service,
    r.service_since,
    r.insurance,
    r.language,
    r.religion,
    r.marital_status,
    r.ethnicity,
    r.admitting_diagnosis,
    r.ed_arrival_time,
    r.ed_departure_time,
    CASE WHEN d.encounter_id IS NULL THEN place.ward END AS ward_now,
    CASE WHEN d.encounter_id IS NULL THEN place.care_unit END AS care_unit_now,
    l.source
FROM latest AS l
LEFT JOIN standing AS a ON a.encounter_id = l.encounter_id AND a.kind = 'admitted'
LEFT JOIN standing AS d ON d.encounter_id = l.encounter_id AND d.kind = 'discharged'
LEFT JOIN judged AS gone ON gone.encounter_id = l.encounter_id AND gone.kind = 'admitted' AND gone.cancelled
LEFT JOIN registration AS r ON r.encounter_id = l.encounter_id
LEFT JOIN place ON place.encounter_id = l.encounter_id
