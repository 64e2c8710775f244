-- staged messages of topic bed_surveys -> rows of history.bed_surveys
SELECT
    event_id,
    event_time,
    recorded_at,
    source_seq,
    source,
    kind,
    patient_id,
    encounter_id,
    survey_id,
    bed::jsonb AS bed,
    surveyed_on,
    note,
    mattress,
    content_hash,
    topic_id,
    partition,
    "offset",
    schema_id
FROM staged_bed_surveys
