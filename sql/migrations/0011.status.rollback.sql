DROP INDEX ops.quarantine_by_time;
