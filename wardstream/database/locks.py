"""The locks of a database: tables without rows, which only owner and writer may lock (sql/migrations/0024.locks.sql).

No advisory locks: everybody who may connect can take those, and hold up all commits with one statement. A table's lock
writes nothing, ends with its transaction or session, and makes no reader wait, pg_dump included.
"""

from __future__ import annotations

from psycopg import errors

from wardstream.database.connection import Connection

NOT_SET_UP = (errors.UndefinedTable, errors.InvalidSchemaName)
"""What statements end in before the first migration: of these, LOCK TABLE says that the schema is missing."""


def lock_commits(conn: Connection) -> None:
    """Wait for the commit lock and hold it to the end of the transaction.

    A statement of its own: under READ COMMITTED, the statement after it sees all that was committed before.
    """
    conn.execute("LOCK TABLE ops.commit_lock IN EXCLUSIVE MODE")


def lock_requests(conn: Connection) -> None:
    """Wait for the lock on requests for a state of a stream, and hold it to the end of the transaction."""
    conn.execute("LOCK TABLE ops.request_lock IN EXCLUSIVE MODE")


def lock_migrations(conn: Connection) -> None:
    """Wait for the lock on migrations, as the owner, and hold it to the end of the transaction.

    Its table is in schema public, beside yoyo's: the other schemas come with the first migration.
    """
    try:
        with conn.transaction():
            conn.execute("CREATE TABLE IF NOT EXISTS public.migration_lock ()")
    except (errors.UniqueViolation, errors.DuplicateTable):
        pass  # somebody else created it in this moment
    conn.execute("LOCK TABLE public.migration_lock IN EXCLUSIVE MODE")
