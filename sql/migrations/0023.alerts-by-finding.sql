-- depends: 0008.alerts
-- One alert a finding, what to type against it, and a second message when it is over.

ALTER TABLE ops.alerts
    ADD COLUMN source text,
    ADD COLUMN remedy text,
    ADD COLUMN seen_by text,
    ADD COLUMN resolved_webhook_at timestamptz,
    ADD COLUMN resolved_email_at timestamptz;
COMMENT ON TABLE ops.alerts IS 'One row a reason to be told (a finding, a failed DAG): whether it is open, and who was told that it began and that it is over.';
COMMENT ON COLUMN ops.alerts.key IS 'What the alert is about: the code of a finding (crash_loop, behind:<topic>, quarantine:<topic>), or dag:<DAG>.';
COMMENT ON COLUMN ops.alerts.source IS 'Which look found it (stream, transactions, days, dags, quarantine): the same look closes it. Null for dag:<DAG>.';
COMMENT ON COLUMN ops.alerts.remedy IS 'What to type. Never patient data.';
COMMENT ON COLUMN ops.alerts.seen_by IS 'The run of a DAG that saw it last.';
COMMENT ON COLUMN ops.alerts.resolved_webhook_at IS 'When the webhook was told that it is over; null: not yet, or it was never told that it began.';
COMMENT ON COLUMN ops.alerts.resolved_email_at IS 'When the mail server took the message that it is over; null: not yet, or it never took the first one.';

-- What was over before this migration is not told now.
UPDATE ops.alerts SET resolved_webhook_at = closed_at, resolved_email_at = closed_at WHERE closed_at IS NOT NULL;
-- Stream findings shared one key. Each now has its own, and the next run opens it.
UPDATE ops.alerts
SET closed_at = clock_timestamp(), resolved_webhook_at = clock_timestamp(), resolved_email_at = clock_timestamp()
WHERE key = 'dag:stream_reconcile_dag' AND closed_at IS NULL;
UPDATE ops.alerts SET source = 'quarantine' WHERE key LIKE 'quarantine:%';
