"""One hash a table: the proof that two databases hold the same, whatever came first and however often.

Rows in the order of their key (views: of their own text), UTC, COPY's text form, SHA-256. core and mart only: history
and ops also say when and where a fact arrived.
"""

from __future__ import annotations

import hashlib

from psycopg import sql

from wardstream.database.connection import Connection, primary_key_of

SCHEMAS = ("core", "mart")


def relations(conn: Connection, schema: str) -> list[tuple[str, bool]]:
    """Tables and views of a schema by name, and whether each is a table."""
    query = (
        "SELECT c.relname, c.relkind = 'r' FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relkind IN ('r', 'v', 'm') ORDER BY c.relname COLLATE \"C\""
    )
    return [(str(name), bool(is_table)) for name, is_table in conn.execute(query, [schema])]


def digest_of(conn: Connection, schema: str, name: str, is_table: bool) -> str:
    """SHA-256, in hex, of all rows of one table or view; memory stays small whatever its size."""
    relation = sql.Identifier(schema, name)
    if is_table:
        keys = [
            sql.SQL('{}::text COLLATE "C"').format(sql.Identifier(c)) for c in primary_key_of(conn, f"{schema}.{name}")
        ]
        order: sql.Composable = sql.SQL(", ").join(keys)
    else:
        order = sql.SQL('t::text COLLATE "C"')
    found = hashlib.sha256()
    columns = [
        column.name for column in conn.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(relation)).description or []
    ]
    found.update(",".join(columns).encode())
    statement = sql.SQL("COPY (SELECT * FROM {} AS t ORDER BY {}) TO STDOUT").format(relation, order)
    with conn.cursor() as cursor, cursor.copy(statement) as stream:
        for chunk in stream:
            found.update(chunk)
    return found.hexdigest()


def digest(conn: Connection) -> dict[str, str]:
    """`schema.table` -> SHA-256 for every table and view of core and mart, read in one snapshot."""
    with conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        conn.execute("SET LOCAL timezone = 'UTC'")
        conn.execute("SET LOCAL datestyle = 'ISO, YMD'")
        conn.execute("SET LOCAL extra_float_digits = 1")
        return {
            f"{schema}.{name}": digest_of(conn, schema, name, is_table)
            for schema in SCHEMAS
            for name, is_table in relations(conn, schema)
        }
