-- core.$topic: one row for each $key_name: its greatest version.
-- topics: $topic
-- key: $key_name
-- rows: greatest version
-- days: observed_at
-- column status: final, corrected or cancelled.
-- column observed_at: When it happened, UTC. Its calendar day is observed_day of mart.$topic.
-- column observed_day: Calendar day of observed_at in the facility's zone.
SELECT
    h.authority,
    h.$key,
    h.patient_id,
    h.encounter_id,
    CASE h.kind WHEN 'cancelled' THEN 'cancelled' WHEN 'corrected' THEN 'corrected' ELSE 'final' END AS status,
    h.event_time AS observed_at,
${of_history}    h.source,
    h.recorded_at,
    h.source_seq,
    h.event_id,
    h.content_hash
FROM greatest_version AS h
