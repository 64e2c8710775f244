-- core.encounters: one row a hospital stay, folded from its facts that hold. A stay with no such fact has no row.
-- topics: admissions
-- key: encounter_id
-- days: admitted_at .. discharged_at
-- ends: status, death_time, died_in_hospital, discharge_disposition, ward_now, care_unit_now
-- column status: open, discharged, cancelled (the admission was cancelled) or unconfirmed (no admission seen yet).
-- column admitted_at: Admission, UTC; null where none holds. Its calendar day depends on the zone of the session that asks: group
--     by admitted_day of mart.admissions.
-- column discharged_at: Discharge, UTC; null while the stay is open. Group by discharged_day of mart.admissions.
-- column ward_now: Ward of an open stay: the last one entered by time of the event.
-- column care_unit_now: Type of care unit of an open stay.
-- column source: Sending system of the last fact that holds.
SELECT q.*
FROM touched
CROSS JOIN LATERAL (
WITH
-- include: admission_facts.sql
,

latest AS (
    SELECT authority, encounter_id, patient_id, source FROM standing ORDER BY pos DESC LIMIT 1
),

-- Each of these restates the whole registration, so the greatest version says all of it.
registration AS (
    SELECT * FROM standing WHERE kind IN ('admitted', 'updated') ORDER BY pos DESC LIMIT 1
),

-- Where the patient is follows the clock of the hospital, not the order in which it was written down.
place AS (
    SELECT ward, care_unit
    FROM standing
    WHERE kind = 'transferred' OR (kind = 'admitted' AND ward IS NOT NULL)
    ORDER BY event_time DESC, pos DESC
    LIMIT 1
)

SELECT
    l.authority,
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
LEFT JOIN standing AS a ON a.kind = 'admitted'
LEFT JOIN standing AS d ON d.kind = 'discharged'
LEFT JOIN judged AS gone ON gone.kind = 'admitted' AND gone.cancelled
LEFT JOIN registration AS r ON true
LEFT JOIN place ON true
) AS q
