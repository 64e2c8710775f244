"""One hash a table: the proof that two databases hold the same, whatever came first and however often.

SHA-256 of the names of the columns, of how many rows there are, and of the sum of the rows' own SHA-256: no order of
rows is part of it, so none is sorted, and PostgreSQL sums on several cores. Rows are hashed as PostgreSQL writes them
as text, in UTC, which another version or machine does alike; the hashes of `sums` are of one major version only. core
and mart only: history and ops also say when and where a fact arrived.
"""

from __future__ import annotations

import hashlib

from psycopg import sql

from wardstream.database.connection import Connection, beside, one_snapshot

SCHEMAS = ("core", "mart")


def relations(conn: Connection, schema: str) -> list[tuple[str, bool]]:
    """Tables and views of a schema by name, and whether each is a table."""
    query = (
        "SELECT c.relname, c.relkind = 'r' FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relkind IN ('r', 'v', 'm') ORDER BY c.relname COLLATE \"C\""
    )
    return [(str(name), bool(is_table)) for name, is_table in conn.execute(query, [schema])]


def digest_of(conn: Connection, schema: str, name: str) -> str:
    """SHA-256, in hex, of all rows of one table or view; memory stays small whatever its size."""
    relation = sql.Identifier(schema, name)
    described = conn.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(relation)).description or []
    [sums] = conn.execute(beside(__file__, "digest").format(relation=relation)).fetchall()
    return hashlib.sha256(
        repr(([column.name for column in described], [int(one) for one in sums])).encode()
    ).hexdigest()


def digest(conn: Connection) -> dict[str, str]:
    """`schema.table` -> SHA-256 for every table and view of core and mart, read in one snapshot."""
    with one_snapshot(conn):
        conn.execute("SET LOCAL timezone = 'UTC'")
        conn.execute("SET LOCAL datestyle = 'ISO, YMD'")
        conn.execute("SET LOCAL intervalstyle = 'postgres'")
        conn.execute("SET LOCAL bytea_output = 'hex'")
        conn.execute("SET LOCAL extra_float_digits = 1")
        return {
            f"{schema}.{name}": digest_of(conn, schema, name)
            for schema in SCHEMAS
            for name, _ in relations(conn, schema)
        }
