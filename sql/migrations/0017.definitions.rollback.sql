ALTER TABLE ops.day_builds DROP COLUMN definition;
