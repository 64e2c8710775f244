ALTER TABLE ops.gaps DROP COLUMN accepted_by;
DELETE FROM ops.gaps WHERE end_offset IS NULL;
ALTER TABLE ops.gaps ALTER COLUMN end_offset SET NOT NULL;
COMMENT ON TABLE ops.gaps IS 'Offsets that were lost before they could be read and that somebody accepted as lost. verify names them.';
COMMENT ON COLUMN ops.gaps.end_offset IS 'Offset after the last one lost.';
COMMENT ON COLUMN ops.streams.state IS 'starting, running, stopping; stopped: it left as asked; failed: it left because it had to.';
ALTER TABLE ops.streams DROP COLUMN blocked_by;
