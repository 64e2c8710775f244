-- staged messages of topic diagnoses -> rows of history.diagnoses
SELECT
    event_id,
    event_time,
    recorded_at,
    source_seq,
    source,
    kind,
    patient_id,
    encounter_id,
    diagnosis_id,
    code,
    code_system,
    sequence,
    short_title,
    title,
    content_hash,
    topic_id,
    partition,
    "offset",
    schema_id
FROM staged_diagnoses
