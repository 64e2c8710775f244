-- core.patients: one row a person: the greatest version of what was said of them.
-- topics: patients
-- key: patient_id
-- days: registered_at
-- column status: active or cancelled.
-- column registered_at: Time of the fact that holds, UTC.
SELECT
    h.authority,
    h.patient_id,
    CASE h.kind WHEN 'cancelled' THEN 'cancelled' ELSE 'active' END AS status,
    h.gender,
    h.birth_date,
    h.death_date,
    h.death_date_hospital,
    h.death_date_registry,
    h.deceased,
    h.event_time AS registered_at,
    h.source
FROM touched
CROSS JOIN LATERAL (
    SELECT *
    FROM history.patients AS v
    WHERE v.patient_id = touched.key
        AND v.authority = touched.authority
        AND v.recorded_at <= %(known_at)s::timestamptz
    ORDER BY v.recorded_at DESC, v.source_seq DESC, v.event_id DESC, v.content_hash DESC
    LIMIT 1
) AS h
