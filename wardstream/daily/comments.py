"""Comments of the tables of sql/marts, taken from their metadata.yaml: what a column means is said in one place."""

from __future__ import annotations

from pathlib import Path

from wardstream.daily.marts import Mart, load_marts
from wardstream.database.comments import ITSELF, set_comments
from wardstream.database.connection import Connection, MissingTable, columns_of
from wardstream.database.plan_error import PlanError
from wardstream.database.prepare import compare_columns


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
    return set_comments(conn, "mart", mart.table, {ITSELF: metadata.description, **metadata.columns})
