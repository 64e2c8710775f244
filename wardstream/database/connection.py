"""PostgreSQL connections and the few helpers that SQL composed in Python needs.

Every session is UTC and has no JIT (the statements are many and small). Nothing here knows a table by name.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

Connection = psycopg.Connection[tuple[Any, ...]]

# A session that waits for a lock looks once a second whether its client is still there, so that the one of a killed
# driver goes away at once.
# A plan that is kept would be that of the first, small batches, also for the large ones after them.
SESSION = (
    "-c timezone=UTC -c jit=off -c plan_cache_mode=force_custom_plan -c client_connection_check_interval=1000"
    " -c client_min_messages=warning"
)


class PoolerBetween(Exception):
    """The address leads to a connection pooler; what we do needs sessions of PostgreSQL's own."""


class MissingTable(Exception):
    """A table that the SQL folder expects is not in the database."""


def connect(url: str, application: str, autocommit: bool = True, more: str = "") -> Connection:
    """Open a session in UTC; psycopg.OperationalError where the server does not answer within 5 s, or PoolerBetween.

    Temporary tables, session settings and locks that outlive a transaction would be lost in a pooler, or left in it.
    `more`: further options of the session, `-c name=value`.
    """
    try:
        conn = psycopg.connect(
            url,
            autocommit=autocommit,
            application_name=application,
            options=f"{SESSION} {more}",
            connect_timeout=5,
            # A server that is gone without a word is noticed within half a minute, not by the kernel after hours.
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=20_000,
        )
    except psycopg.OperationalError as error:
        if "unsupported startup parameter" in str(error):
            raise _pooler(application) from None
        raise
    # A pooler gives its clients numbers of its own. psycopg's own query: it begins no transaction.
    answer = conn.pgconn.exec_(b"SELECT pg_backend_pid()")
    if answer.get_value(0, 0) != str(conn.info.backend_pid).encode():
        conn.close()
        raise _pooler(application)
    return conn


@contextmanager
def one_snapshot(conn: Connection) -> Iterator[None]:
    """A transaction that sees the database as it is at its first query; no commit waits for it."""
    with conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield


def _pooler(application: str) -> PoolerBetween:
    return PoolerBetween(
        f"{application}: the address leads to a connection pooler such as pgbouncer; set DATABASE_URL and"
        " WARDSTREAM_OWNER_DATABASE_URL to PostgreSQL itself (BI may use the pooler)"
    )


def names(columns: Iterable[str], prefix: str = "") -> sql.Composed:
    """Quoted, comma-separated column names, each behind `prefix.` where one is given."""
    return sql.SQL(", ").join(sql.Identifier(*([prefix] if prefix else []), column) for column in columns)


def trusted(text: str) -> sql.SQL:
    """SQL text of a checked-in file."""
    return sql.SQL(text)  # psycopg wants literals here, so that input never gets in


@functools.cache
def beside(module: str, name: str) -> sql.SQL:
    """The statement sql/<name>.sql beside a module (its `__file__`). Read once: files may be replaced as we run."""
    return trusted((Path(module).parent / "sql" / f"{name}.sql").read_text())


def scalar(conn: Connection, statement: Any, parameters: Any = None) -> Any:
    """The first column of the first row, or None."""
    row = conn.execute(statement, parameters).fetchone()
    return row[0] if row else None


def columns_of(conn: Connection, schema: str, table: str) -> list[str]:
    """Column names of a table in order; MissingTable where there is no such table."""
    query = (
        "SELECT column_name FROM information_schema.columns"
        " WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position"
    )
    found = [str(row[0]) for row in conn.execute(query, [schema, table])]
    if not found:
        raise MissingTable(f"there is no table {schema}.{table}: write a migration for it and run `wardstream migrate`")
    return found


def primary_key_of(conn: Connection, table: str) -> list[str]:
    """Columns of a table's primary key, in the order of the table."""
    query = (
        "SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)"
        " WHERE i.indrelid = %s::regclass AND i.indisprimary ORDER BY a.attnum"
    )
    return [str(row[0]) for row in conn.execute(query, [table])]


def types_of(conn: Connection, table: str) -> dict[str, str]:
    """Type of each column of a table, as PostgreSQL writes it."""
    query = (
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
    )
    return {str(name): str(kind) for name, kind in conn.execute(query, [table])}
