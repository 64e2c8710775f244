-- depends: 0006.stream-control
-- Locks that only owner and writer can take. Advisory locks are open to everybody who may connect, and only a superuser
-- can change that.

CREATE TABLE ops.commit_lock ();
COMMENT ON TABLE ops.commit_lock IS 'Has no rows. Whoever commits locks it in EXCLUSIVE mode until its transaction ends: one commit at a time. Readers and pg_dump do not wait.';
CREATE TABLE ops.request_lock ();
COMMENT ON TABLE ops.request_lock IS 'Has no rows. Whoever asks for a state of the stream locks it: one request at a time.';

CREATE TABLE ops.stream_leases (
    stream        text PRIMARY KEY,
    backend_pid   integer NOT NULL,
    backend_start timestamptz NOT NULL
);
COMMENT ON TABLE ops.stream_leases IS 'Which session holds a stream. It holds it for as long as pg_stat_activity shows that session. Nothing else writes here, so that no commit delays a look.';
COMMENT ON COLUMN ops.stream_leases.stream IS 'Name of the stream.';
COMMENT ON COLUMN ops.stream_leases.backend_pid IS 'Process id of the session on PostgreSQL''s host.';
COMMENT ON COLUMN ops.stream_leases.backend_start IS 'When that session began: process ids are used again.';

-- LOCK TABLE wants a right to change the table; there is nothing in it to change
GRANT SELECT, UPDATE ON ops.commit_lock, ops.request_lock TO wardstream_writer;
GRANT SELECT, INSERT, UPDATE ON ops.stream_leases TO wardstream_writer;

-- A driver of the version before locks something else. Its commit is waited for, and its next one is fenced.
LOCK TABLE ops.ledger IN SHARE ROW EXCLUSIVE MODE;
UPDATE ops.streams SET generation = generation + 1;
