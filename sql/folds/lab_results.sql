-- core.lab_results: one row a laboratory result: the greatest version of it.
-- topics: labs
-- key: lab_result_id
-- rows: greatest version
-- days: observed_at
-- column status: final, corrected or cancelled.
-- column observed_at: Clinically relevant time of the result, UTC. Group by observed_day of mart.labs.
SELECT
    h.authority,
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
    h.source,
    h.recorded_at,
    h.source_seq,
    h.event_id,
    h.content_hash
FROM greatest_version AS h
