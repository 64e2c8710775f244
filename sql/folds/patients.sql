-- core.patients: one row a person: the greatest version of what was said of them.
-- topics: patients
-- key: patient_id
-- rows: greatest version
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
    h.source,
    h.recorded_at,
    h.source_seq,
    h.event_id,
    h.content_hash
FROM greatest_version AS h
