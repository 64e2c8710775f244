-- core.movements: one row a movement of a stay, as sent; cancelled ones stay with that status.
-- topics: admissions
-- key: encounter_id
-- days: moved_at
-- column status: active or cancelled.
-- column movement_id: Identity of the movement within its stay.
-- column movement_type: admit, transfer or discharge, as sent.
-- column moved_at: When the ward was entered, or left for good on a discharge, UTC.
-- column next_moved_at: When the next movement of the stay begins, or else the stay ends, UTC; null where the movement is
--     cancelled or the last one of an open stay.
SELECT q.*
FROM touched
CROSS JOIN LATERAL (
WITH
-- include: admission_facts.sql
,

laid_out AS (
    SELECT fact, lead(event_time) OVER (ORDER BY event_time, pos) AS next_moved_at
    FROM standing
    WHERE kind = 'transferred'
)

SELECT
    m.authority,
    m.encounter_id,
    m.movement_id,
    m.patient_id,
    CASE WHEN m.cancelled THEN 'cancelled' ELSE 'active' END AS status,
    m.movement_type,
    m.event_time AS moved_at,
    -- After the last movement the stay's end closes the bed, unless the movement lies after it.
    coalesce(n.next_moved_at, CASE WHEN d.event_time >= m.event_time AND NOT m.cancelled THEN d.event_time END)
        AS next_moved_at,
    m.ward,
    m.previous_ward,
    m.care_unit,
    m.previous_care_unit,
    m.icu_stay_id,
    m.ward_until,
    m.ward_hours,
    m.source_system,
    m.source
FROM judged AS m
LEFT JOIN laid_out AS n ON n.fact = m.fact
LEFT JOIN standing AS d ON d.kind = 'discharged'
WHERE m.kind = 'transferred'
) AS q
