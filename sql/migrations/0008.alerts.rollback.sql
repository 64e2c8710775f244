DROP INDEX ops.ledger_ranges_by_time;
DROP TABLE ops.alerts;
