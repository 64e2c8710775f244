-- depends: 0013.words
-- By what a day was built. A day that was built before this column was there has none, and is built once more: what
-- it was built by is not known.

ALTER TABLE ops.day_builds ADD COLUMN definition text;
COMMENT ON COLUMN ops.day_builds.definition IS 'SHA-256 of what the numbers come from beside core: query, reads and version in sql/marts, and the rows of the reference tables in the snapshot of the build. Another one makes the day stale. Null: built before this was noted.';
