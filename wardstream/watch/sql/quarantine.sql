-- Messages refused in the last 24 hours by topic and reason, and when the latest was; of more than %(most)s the newest
-- ones, so that a sender who is wrong about everything does not make this slow.
SELECT topic, reason, count(*) AS messages, max(quarantined_at) AS latest
FROM (
    SELECT topic, reason, quarantined_at
    FROM ops.quarantine
    WHERE quarantined_at > now() - interval '24 hours'
    ORDER BY quarantined_at DESC
    LIMIT %(most)s
) AS newest
GROUP BY topic, reason
ORDER BY topic, messages DESC, reason
