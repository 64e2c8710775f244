-- depends: 0028.authorities
-- Where one fact says all of a row, core keeps the version of that fact: a commit compares versions and reads no history.
-- `wardstream migrate` fills them in, and makes them NOT NULL.

ALTER TABLE core.patients
    ADD COLUMN recorded_at timestamptz,
    ADD COLUMN source_seq bigint,
    ADD COLUMN event_id text COLLATE "C",
    ADD COLUMN content_hash bytea;

ALTER TABLE core.diagnoses
    ADD COLUMN recorded_at timestamptz,
    ADD COLUMN source_seq bigint,
    ADD COLUMN event_id text COLLATE "C",
    ADD COLUMN content_hash bytea;

ALTER TABLE core.lab_results
    ADD COLUMN recorded_at timestamptz,
    ADD COLUMN source_seq bigint,
    ADD COLUMN event_id text COLLATE "C",
    ADD COLUMN content_hash bytea;

-- A driver of the version before would leave a new row without them. Its commit is waited for, its next one is fenced.
LOCK TABLE ops.commit_lock IN EXCLUSIVE MODE;
UPDATE ops.streams SET generation = generation + 1;
