-- core.patients: one row a person: the greatest version of what was said of them.
-- topics: patients
-- key: patient_id
-- days: registered_at
SELECT DISTINCT ON (h.patient_id)
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
INNER JOIN history.patients AS h ON h.patient_id = touched.key
WHERE h.recorded_at <= %(known_at)s::timestamptz
ORDER BY h.patient_id, h.recorded_at DESC, h.source_seq DESC, h.event_id DESC, h.content_hash DESC
