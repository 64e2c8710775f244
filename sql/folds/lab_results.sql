-- core.lab_results: one row a laboratory result: the greatest version of it.
-- topics: labs
-- key: lab_result_id
-- days: observed_at
SELECT DISTINCT ON (h.lab_result_id)
    h.lab_result_id,
    h.patient_id,
    h.encounter_id,
    CASE h.kind WHEN 'cancelled' THEN 'cancelled' WHEN 'corrected' THEN 'corrected' ELSE 'final' END AS status,
    h.event_time AS observed_at,
    h.test_code,
    h.test_name,
    h.specimen,
    h.category,
    h.loinc_code,
    h.value_text,
    h.value_number,
    h.unit,
    h.flag,
    h.ordered_at,
    h.collected_at,
    h.reported_at,
    h.source
FROM touched
INNER JOIN history.labs AS h ON h.lab_result_id = touched.key
WHERE h.recorded_at <= %(known_at)s::timestamptz
ORDER BY h.lab_result_id, h.recorded_at DESC, h.source_seq DESC, h.event_id DESC, h.content_hash DESC
