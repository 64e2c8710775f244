-- Open an alert. One that is open keeps what people were told of it, and only notes who saw it last.
INSERT INTO ops.alerts AS a (key, what, runbook, remedy, source, since, opened_at, seen_by)
VALUES (
    %(key)s, %(what)s, %(runbook)s, %(remedy)s, %(source)s, %(since)s, clock_timestamp(), %(seen_by)s
)
ON CONFLICT (key) DO UPDATE
SET seen_by = excluded.seen_by,
    source = excluded.source,
    what = CASE WHEN a.closed_at IS NULL THEN a.what ELSE excluded.what END,
    runbook = CASE WHEN a.closed_at IS NULL THEN a.runbook ELSE excluded.runbook END,
    remedy = CASE WHEN a.closed_at IS NULL THEN a.remedy ELSE excluded.remedy END,
    since = CASE WHEN a.closed_at IS NULL THEN a.since ELSE excluded.since END,
    opened_at = CASE WHEN a.closed_at IS NULL THEN a.opened_at ELSE excluded.opened_at END,
    sent_webhook_at = CASE WHEN a.closed_at IS NULL THEN a.sent_webhook_at END,
    sent_email_at = CASE WHEN a.closed_at IS NULL THEN a.sent_email_at END,
    resolved_webhook_at = NULL,
    resolved_email_at = NULL,
    closed_at = NULL
