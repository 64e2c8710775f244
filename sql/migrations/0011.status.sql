-- depends: 0001.schemas-and-ops
-- `wardstream status` and the metrics count what was refused in the last day, every few seconds.

CREATE INDEX quarantine_by_time ON ops.quarantine (quarantined_at) INCLUDE (topic, reason);
