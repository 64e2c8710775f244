-- depends: 0001.schemas-and-ops
-- What people were told: one row a reason to be told, so that it is one message and not one every run.

CREATE TABLE ops.alerts (
    key             text PRIMARY KEY,
    what            text NOT NULL,
    runbook         text NOT NULL,
    since           timestamptz NOT NULL,
    opened_at       timestamptz NOT NULL,
    closed_at       timestamptz,
    sent_webhook_at timestamptz,
    sent_email_at   timestamptz
);
COMMENT ON TABLE ops.alerts IS 'One row a reason to be told (a failed DAG, a topic with too many refused messages): whether it is open, and who was told.';
COMMENT ON COLUMN ops.alerts.key IS 'What the alert is about: dag:<DAG>, quarantine:<topic>.';
COMMENT ON COLUMN ops.alerts.what IS 'What was said when it was opened. Never patient data.';
COMMENT ON COLUMN ops.alerts.runbook IS 'File in docs/runbooks that says what to do.';
COMMENT ON COLUMN ops.alerts.since IS 'Since when it is so.';
COMMENT ON COLUMN ops.alerts.opened_at IS 'When it was opened last.';
COMMENT ON COLUMN ops.alerts.closed_at IS 'When it was all right again; null while it is open.';
COMMENT ON COLUMN ops.alerts.sent_webhook_at IS 'When the webhook took the message of this opening; null: not yet, or no webhook is set.';
COMMENT ON COLUMN ops.alerts.sent_email_at IS 'When the mail server took the message of this opening; null: not yet, or no address is set.';
GRANT SELECT, INSERT, UPDATE ON ops.alerts TO wardstream_writer;

-- The share of refused messages is asked every two minutes for the last hour. Rows come in the order of time, so that a
-- few bytes for every 32 pages are enough, and cost a commit next to nothing.
CREATE INDEX ledger_ranges_by_time ON ops.ledger_ranges USING brin (committed_at) WITH (pages_per_range = 32, autosummarize = on);
