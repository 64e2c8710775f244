-- Alerts of which a channel may not have been told yet that they began, or that they are over. News of a day ago is none.
SELECT key
FROM ops.alerts
WHERE closed_at IS NULL
    OR (
        closed_at > now() - interval '1 day'
        AND (
            (sent_webhook_at IS NOT NULL AND resolved_webhook_at IS NULL)
            OR (sent_email_at IS NOT NULL AND resolved_email_at IS NULL)
        )
    )
ORDER BY key
