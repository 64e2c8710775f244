-- Mark messages in quarantine as decided about. Nothing is deleted, and one that was discarded keeps who did it and why.
UPDATE ops.quarantine
SET discarded_at = clock_timestamp(), discarded_by = %(by)s, discard_note = %(note)s
WHERE topic = %(topic)s
    AND discarded_at IS NULL
    AND (reason = %(reason)s OR %(reason)s::text IS NULL)
    AND (quarantined_at < %(before)s OR %(before)s::timestamptz IS NULL)
    AND (partition = %(partition)s OR %(partition)s::integer IS NULL)
    AND ("offset" BETWEEN %(first)s AND %(last)s OR %(first)s::bigint IS NULL)
