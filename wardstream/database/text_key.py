"""The function mart.text_key: one text for an id and its authority, for whoever wants a key of one column.

Made by `wardstream migrate` and not by a migration, because it holds the default authority of schemas/sources.yaml. An
id of that authority is its own key, others are `authority:id`; two things never have the same one. A key that would be
longer than its column is replaced by a hash of it, never cut.
"""

from __future__ import annotations

from psycopg import sql

from wardstream.contracts.sources import Sources
from wardstream.database.connection import Connection, beside, scalar

SHORTEST = 33
"""A hash in fewer characters would have less than 128 bits."""

DEFINITION = "SELECT pg_get_functiondef(to_regprocedure('mart.text_key(text, text, integer)'))"
RIGHTS = (
    "REVOKE EXECUTE ON FUNCTION mart.text_key FROM PUBLIC;"
    " GRANT EXECUTE ON FUNCTION mart.text_key TO wardstream_writer, wardstream_bi"
)


def apply_text_key(conn: Connection, sources: Sources) -> bool:
    """Make the function, or make it anew for another default authority, as the owner; whether it changed."""
    before = scalar(conn, DEFINITION)
    create = beside(__file__, "text_key").format(default=sql.Literal(sources.default_authority), shortest=SHORTEST)
    with conn.transaction():
        conn.execute(create)
        changed = bool(scalar(conn, DEFINITION) != before)
        if changed:
            conn.execute(RIGHTS)
        return changed
