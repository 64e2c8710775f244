"""Comments of tables, views and their columns: what differs is set, what is the same is left alone."""

from __future__ import annotations

from collections.abc import Mapping

from psycopg import sql

from wardstream.database.connection import Connection, scalar

Comments = Mapping[str, str]
"""Text by column; that of the table or view itself by ITSELF."""
ITSELF = ""

SAID = "SELECT obj_description(%(of)s::regclass, 'pg_class')"
SAID_OF_COLUMNS = """
SELECT attname, col_description(attrelid, attnum)
FROM pg_attribute
WHERE attrelid = %(of)s::regclass AND attnum > 0 AND NOT attisdropped
"""


def set_comments(conn: Connection, schema: str, name: str, wanted: Comments, kind: str = "TABLE") -> bool:
    """Set the comments of the columns that there are, as the owner; whether any was another. `kind`: or VIEW."""
    relation = sql.Identifier(schema, name)
    of = {"of": relation.as_string(conn)}
    said: dict[str, str | None] = {column: text for column, text in conn.execute(SAID_OF_COLUMNS, of)}
    said[ITSELF] = scalar(conn, SAID, of)
    differ = {column: text for column, text in wanted.items() if column in said and said[column] != text}
    with conn.transaction():
        for column, text in differ.items():
            what = sql.SQL("{} {}").format(sql.SQL(kind), relation)
            if column != ITSELF:
                what = sql.SQL("COLUMN {}").format(sql.Identifier(schema, name, column))
            conn.execute(sql.SQL("COMMENT ON {} IS {}").format(what, sql.Literal(text)))
    return bool(differ)
