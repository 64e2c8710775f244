COMMENT ON COLUMN ops.streams.state IS 'starting, running, stopping or stopped.';
ALTER TABLE ops.streams DROP COLUMN caught_up_at, DROP COLUMN behind_since, DROP COLUMN recent_starts, DROP COLUMN restarts;
DROP TABLE ops.stream_requests, ops.stream_control;
