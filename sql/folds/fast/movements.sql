-- The fast path of core.movements: stays of which nothing was ever cancelled, in one pass over their facts.
-- What a row means is said by ../movements.sql, which folds every other stay, and by which `verify` judges this one.
SELECT q.*
FROM touched
CROSS JOIN LATERAL (
    SELECT
        array_agg(h ORDER BY h.recorded_at DESC, h.source_seq DESC, h.event_id DESC, h.content_hash DESC)
            FILTER (WHERE h.kind = 'transferred') AS movements,
        (array_agg(h.event_time ORDER BY h.recorded_at DESC, h.source_seq DESC, h.event_id DESC, h.content_hash DESC)
            FILTER (WHERE h.kind = 'discharged'))[1] AS discharged_at
    FROM history.admissions AS h
    WHERE h.encounter_id = touched.key
        AND h.authority = touched.authority
    HAVING NOT bool_or(h.kind IN ('cancelled_admit', 'cancelled_transfer', 'cancelled_discharge'))
) AS f
CROSS JOIN LATERAL (
    SELECT
        m.authority,
        m.encounter_id,
        m.movement_id,
        m.patient_id,
        'active' AS status,
        m.movement_type,
        m.event_time AS moved_at,
        coalesce(
            lead(m.event_time) OVER (ORDER BY m.event_time, m.ordinality DESC),
            CASE WHEN f.discharged_at >= m.event_time THEN f.discharged_at END
        ) AS next_moved_at,
        m.ward,
        m.previous_ward,
        m.care_unit,
        m.previous_care_unit,
        m.icu_stay_id,
        m.ward_until,
        m.ward_hours,
        m.source_system,
        m.source
    FROM (
        SELECT DISTINCT ON (v.movement_id) v.*
        FROM unnest(f.movements) WITH ORDINALITY AS v
        ORDER BY v.movement_id, v.ordinality
    ) AS m
) AS q
