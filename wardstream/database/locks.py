"""The lock that orders all commits of a database."""

from __future__ import annotations

from wardstream.database.connection import Connection

COMMIT_LOCK = 0x57415244  # "WARD"


def lock_commits(conn: Connection) -> None:
    """Wait for the commit lock and hold it to the end of the transaction.

    A statement of its own: under READ COMMITTED, the statement after it sees all that was committed before.
    """
    conn.execute("SELECT pg_advisory_xact_lock(%s)", [COMMIT_LOCK])
