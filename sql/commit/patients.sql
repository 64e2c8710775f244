-- staged messages of topic patients -> rows of history.patients
SELECT
    event_id,
    event_time,
    recorded_at,
    source_seq,
    source,
    kind,
    patient_id,
    gender,
    birth_date,
    death_date,
    death_date_hospital,
    death_date_registry,
    deceased,
    content_hash,
    topic_id,
    partition,
    "offset",
    schema_id
FROM staged_patients
