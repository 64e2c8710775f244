-- One sender of a batch: how many events, and when the broker appended the first and the last. What comes again, from a
-- log that is read anew, is older than what is known and changes no pause.
INSERT INTO ops.senders AS s (topic, source, messages, first_at, last_at)
VALUES (%(topic)s, %(source)s, %(broker_time_count)s, %(broker_time_min)s, %(broker_time_max)s)
ON CONFLICT (topic, source) DO UPDATE
SET messages = s.messages + excluded.messages,
    first_at = least(s.first_at, excluded.first_at),
    last_at = greatest(s.last_at, excluded.last_at),
    longest_pause = greatest(
        s.longest_pause * power(0.5, greatest(0, extract(EPOCH FROM excluded.last_at - s.last_at)) / 604800),
        least(excluded.first_at - s.last_at, greatest(2 * s.longest_pause, interval '1 hour'))
    )
