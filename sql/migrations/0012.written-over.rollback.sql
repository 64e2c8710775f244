ALTER TABLE ops.ledger DROP COLUMN newest;
