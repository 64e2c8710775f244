-- depends: 0001.schemas-and-ops
-- A log that was restored to an older state and written on has as many messages as before, but not the same.

ALTER TABLE ops.ledger ADD COLUMN newest timestamptz;
COMMENT ON COLUMN ops.ledger.newest IS 'Greatest time of appending (broker''s clock) of what is committed of this partition. A message before next_offset that was appended later is another one than was committed. Null before the first commit.';
