-- core.diagnoses: one row a coded diagnosis: the greatest version of it.
-- topics: diagnoses
-- key: diagnosis_id
-- rows: greatest version
-- days: coded_at
-- column status: final, corrected or cancelled.
-- column coded_at: When the diagnosis was coded, UTC. Group by coded_day of mart.diagnoses.
SELECT
    h.authority,
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
    h.source,
    h.recorded_at,
    h.source_seq,
    h.event_id,
    h.content_hash
FROM greatest_version AS h
