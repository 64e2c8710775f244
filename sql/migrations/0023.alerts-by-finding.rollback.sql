ALTER TABLE ops.alerts
    DROP COLUMN source,
    DROP COLUMN remedy,
    DROP COLUMN seen_by,
    DROP COLUMN resolved_webhook_at,
    DROP COLUMN resolved_email_at;
COMMENT ON TABLE ops.alerts IS 'One row a reason to be told (a failed DAG, a topic with too many refused messages): whether it is open, and who was told.';
COMMENT ON COLUMN ops.alerts.key IS 'What the alert is about: dag:<DAG>, quarantine:<topic>.';
