"""A database of its own on the session's server, with books that tests write by hand."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.integration.conftest import another_database
from wardstream.database.migrate import migrate
from wardstream.settings import Settings


@dataclass
class Books:
    """The ledger and the quarantine."""

    settings: Settings
    conn: psycopg.Connection

    def commit(self, topic: str, received: int, seconds_ago: float, partition: int = 0, quarantined: int = 0) -> None:
        """A commit of one partition, after those before it."""
        self.conn.execute(
            "WITH moved AS (INSERT INTO ops.ledger AS l VALUES ('id-' || %(topic)s, %(p)s, %(topic)s, %(n)s)"
            " ON CONFLICT (topic_id, partition) DO UPDATE SET next_offset = l.next_offset + %(n)s"
            " RETURNING topic_id, partition, next_offset)"
            " INSERT INTO ops.ledger_ranges (topic_id, partition, start_offset, end_offset, received, stored,"
            "  duplicate, quarantined, generation, commit_seq, committed_at)"
            " SELECT topic_id, partition, next_offset - %(n)s, next_offset, %(n)s, %(n)s - %(bad)s, 0, %(bad)s, 1, 1,"
            "  now() - make_interval(secs => %(seconds)s) FROM moved",
            {"topic": topic, "p": partition, "n": received, "bad": quarantined, "seconds": seconds_ago},
        )

    def refuse(self, topic: str, reason: str, offset: int, hours_ago: float) -> datetime:
        """A message in quarantine; when it came there."""
        at = datetime.now(UTC) - timedelta(hours=hours_ago)
        self.conn.execute(
            'INSERT INTO ops.quarantine (topic_id, partition, "offset", topic, reason, broker_time, key, value,'
            " commit_seq, quarantined_at) VALUES ('id-' || %s, 0, %s, %s, %s, now(), 'k', 'a name', 1, %s)",
            [topic, offset, topic, reason, at],
        )
        return at

    def drive(self, state: str, pid: int, lag: str, blocked_by: str | None = None) -> None:
        """A driver that gave a sign of life just now."""
        self.conn.execute("DELETE FROM ops.streams")
        self.conn.execute(
            "INSERT INTO ops.streams (stream, generation, state, pid, backend_pids, started_at, heartbeat_at, lag,"
            " blocked_by) VALUES ('main', 7, %s, %s, '{}', now(), clock_timestamp(), %s, %s)",
            [state, pid, lag, blocked_by],
        )

    def want(self, desired: str) -> None:
        """What the stream should do."""
        self.conn.execute("UPDATE ops.stream_control SET desired = %s, waiting_pid = NULL", [desired])


@pytest.fixture(scope="package")
def migrated(server: Settings) -> Settings:
    """Settings of a database that only these tests use."""
    settings = another_database(server, "status")
    migrate(settings)
    return settings


@pytest.fixture
def books(migrated: Settings) -> Iterator[Books]:
    """Empty books."""
    with psycopg.connect(migrated.owner_url, autocommit=True) as conn:
        conn.execute("TRUNCATE ops.ledger, ops.ledger_ranges, ops.quarantine, ops.streams")
        books = Books(migrated, conn)
        books.want("running")
        yield books
