ALTER TABLE ops.streams DROP COLUMN held;
