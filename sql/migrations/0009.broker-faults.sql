-- depends: 0001.schemas-and-ops 0006.stream-control
-- What is needed to stop in plain words when Kafka is not what it was, and to go on when somebody says so.

ALTER TABLE ops.streams ADD COLUMN blocked_by text;
COMMENT ON COLUMN ops.streams.blocked_by IS 'Why the driver does not begin to read (state blocked or waiting); null otherwise. Never patient data.';
COMMENT ON COLUMN ops.streams.state IS 'starting, running, stopping, stopped, failed; waiting: a server does not answer; blocked: somebody must decide.';

ALTER TABLE ops.gaps ALTER COLUMN end_offset DROP NOT NULL;
ALTER TABLE ops.gaps ADD COLUMN accepted_by text;
COMMENT ON TABLE ops.gaps IS 'Offsets that were lost before they could be read and that somebody accepted as lost. verify names them. Where end_offset is null the log itself is gone: its row of ops.ledger is closed.';
COMMENT ON COLUMN ops.gaps.end_offset IS 'Offset after the last one lost; null: nobody knows how far the lost log went.';
COMMENT ON COLUMN ops.gaps.accepted_by IS 'Who accepted it: the account and the host of the command.';
