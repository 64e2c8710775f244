ALTER TABLE core.patients
    DROP COLUMN recorded_at,
    DROP COLUMN source_seq,
    DROP COLUMN event_id,
    DROP COLUMN content_hash;

ALTER TABLE core.diagnoses
    DROP COLUMN recorded_at,
    DROP COLUMN source_seq,
    DROP COLUMN event_id,
    DROP COLUMN content_hash;

ALTER TABLE core.lab_results
    DROP COLUMN recorded_at,
    DROP COLUMN source_seq,
    DROP COLUMN event_id,
    DROP COLUMN content_hash;
