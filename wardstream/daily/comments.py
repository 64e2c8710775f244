"""Comments of the tables of sql/marts, taken from their metadata.yaml: what a column means is said in one place."""

from __future__ import annotations

from pathlib import Path

from psycopg import sql

from wardstream.daily.check import compare_columns
from wardstream.daily.marts import Mart, load_marts
from wardstream.database.connection import Connection, MissingTable, columns_of, scalar
from wardstream.stream.plan import PlanError

SAID = "SELECT obj_description(%(table)s::regclass, 'pg_class')"
SAID_OF_COLUMNS = """
SELECT attname, col_description(attrelid, attnum)
FROM pg_attribute
WHERE attrelid = %(table)s::regclass AND attnum > 0 AND NOT attisdropped
"""


def apply_mart_comments(conn: Connection, sql_dir: Path) -> list[str]:
    """Bring the comments of every table to its metadata.yaml, as the owner; the tables that had others.

    PlanError where a table is not there, or has other columns than are described.
    """
    return [f"mart.{mart.table}" for mart in load_marts(sql_dir) if _apply(conn, mart)]


def _apply(conn: Connection, mart: Mart) -> bool:
    metadata = mart.metadata
    try:
        columns = columns_of(conn, "mart", mart.table)
    except MissingTable as missing:
        raise PlanError(f"{mart.folder}: {missing}") from None
    compare_columns(mart.folder / "metadata.yaml", list(metadata.columns), f"mart.{mart.table}", columns)
    table = sql.Identifier("mart", mart.table)
    name = {"table": table.as_string(conn)}
    said: dict[str | None, str | None] = {column: text for column, text in conn.execute(SAID_OF_COLUMNS, name)}
    said[None] = scalar(conn, SAID, name)
    wanted: dict[str | None, str] = {None: metadata.description}
    wanted |= {column: text for column, text in metadata.columns.items()}
    differ = {column: text for column, text in wanted.items() if said[column] != text}
    with conn.transaction():
        for column, text in differ.items():
            what = sql.SQL("TABLE {}").format(table)
            if column is not None:
                what = sql.SQL("COLUMN {}").format(sql.Identifier("mart", mart.table, column))
            conn.execute(sql.SQL("COMMENT ON {} IS {}").format(what, sql.Literal(text)))
    return bool(differ)
