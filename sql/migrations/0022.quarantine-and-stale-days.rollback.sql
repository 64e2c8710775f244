DROP TABLE ops.stale_days;
DROP INDEX ops.quarantine_waiting;
ALTER TABLE ops.quarantine
    DROP CONSTRAINT discarded_by_somebody,
    DROP COLUMN discarded_at,
    DROP COLUMN discarded_by,
    DROP COLUMN discard_note;
