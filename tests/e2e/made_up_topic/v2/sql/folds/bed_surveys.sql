-- core.bed_surveys: one row a survey: the greatest version of it
-- topics: bed_surveys
-- key: survey_id
-- days: surveyed_at
SELECT DISTINCT ON (h.authority, h.survey_id)
    h.authority,
    h.survey_id,
    h.patient_id,
    CASE h.kind WHEN 'cancelled' THEN 'cancelled' ELSE 'final' END AS status,
    h.bed ->> 'room' AS room,
    (h.bed ->> 'number')::integer AS bed_number,
    h.surveyed_on,
    h.event_time AS surveyed_at,
    h.note,
    h.source,
    h.mattress
FROM touched
INNER JOIN history.bed_surveys AS h ON (h.authority, h.survey_id) = (touched.authority, touched.key)
WHERE h.recorded_at <= %(known_at)s::timestamptz
ORDER BY h.authority, h.survey_id, h.recorded_at DESC, h.source_seq DESC, h.event_id DESC, h.content_hash DESC
