-- core.diagnoses: one row a coded diagnosis: the greatest version of it.
-- topics: diagnoses
-- key: diagnosis_id
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
    h.source
FROM touched
CROSS JOIN LATERAL (
    SELECT *
    FROM history.diagnoses AS v
    WHERE v.diagnosis_id = touched.key
        AND v.authority = touched.authority
        AND v.recorded_at <= %(known_at)s::timestamptz
    ORDER BY v.recorded_at DESC, v.source_seq DESC, v.event_id DESC, v.content_hash DESC
    LIMIT 1
) AS h
