-- core.diagnoses: one row a coded diagnosis: the greatest version of it.
-- topics: diagnoses
-- key: diagnosis_id
-- days: coded_at
SELECT DISTINCT ON (h.diagnosis_id)
    h.diagnosis_id,
    h.patient_id,
    h.encounter_id,
    CASE h.kind WHEN 'cancelled' THEN 'cancelled' WHEN 'corrected' THEN 'corrected' ELSE 'final' END AS status,
    h.event_time AS coded_at,
    h.code,
    h.code_system,
    h.sequence,
    h.short_title,
    h.title,
    h.source
FROM touched
INNER JOIN history.diagnoses AS h ON h.diagnosis_id = touched.key
WHERE h.recorded_at <= %(known_at)s::timestamptz
ORDER BY h.diagnosis_id, h.recorded_at DESC, h.source_seq DESC, h.event_id DESC, h.content_hash DESC
