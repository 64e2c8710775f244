"""SQL of files tried before it is needed: PostgreSQL plans it, and no row is read or written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from wardstream.database.connection import Connection, trusted
from wardstream.database.plan_error import PlanError

REFUSED = (psycopg.ProgrammingError, psycopg.DataError, psycopg.NotSupportedError)
"""A fault of the text; others are of the server."""
TYPES = (
    "SELECT name, format_type(oid, modifier) FROM unnest(%s::text[], %s::oid[], %s::int[]) AS c (name, oid, modifier)"
)


def result_of(
    conn: Connection,
    path: Path | str,
    text: str,
    parameters: Mapping[str, Any] | None = None,
    before: sql.Composable | None = None,
    line_of: Callable[[int], str] | None = None,
) -> dict[str, str]:
    """Type of each column that a file's SELECT gives, in their order, as PostgreSQL writes it.

    `before`: a WITH that goes before it; `line_of`: file and line of a line of the text, where that is not the file's.

    PlanError with the line where PostgreSQL refuses the text. Only constants are computed, so no row can be in it.
    """
    head = _head(before)
    select = sql.Composed([head, trusted(text), sql.SQL("\n) AS t LIMIT 0")])
    cursor = psycopg.ClientCursor(conn)
    try:
        columns = cursor.execute(select, parameters).description or []
    except REFUSED as error:
        position = error.diag.statement_position
        lines = cursor.mogrify(select, parameters)[: int(position) - 1].count("\n") if position else None
        line = None if lines is None else lines - head.as_string(conn).count("\n") + 1
        at = str(path) if line is None else line_of(line) if line_of else f"{path}, line {line}"
        raise PlanError(f"{at}: {error.diag.message_primary or type(error).__name__}") from None
    assert cursor.pgresult is not None
    modifiers = [cursor.pgresult.fmod(number) for number in range(len(columns))]
    oids = [column.type_code for column in columns]
    return dict(conn.execute(TYPES, [[column.name for column in columns], oids, modifiers]).fetchall())


def compare_columns(path: Path | str, found: Sequence[str], what: str, wanted: Sequence[str]) -> None:
    """PlanError where a file gives other columns than it must, in whatever order."""
    if missing := [column for column in wanted if column not in found]:
        raise PlanError(f"{path}: it does not give {', '.join(missing)}, which {what} has")
    if extra := [column for column in found if column not in wanted]:
        raise PlanError(f"{path}: it gives {', '.join(extra)}, which {what} does not have")
    if len(found) > len(wanted):
        raise PlanError(f"{path}: it gives a column twice")


def relations_of(
    conn: Connection, text: str, parameters: Mapping[str, Any] | None = None, before: sql.Composable | None = None
) -> set[str]:
    """The relations that PostgreSQL would read for a SELECT, views taken apart: `schema.name`."""
    explain = sql.Composed(
        [sql.SQL("EXPLAIN (VERBOSE, FORMAT JSON) "), _head(before), trusted(text), sql.SQL("\n) AS t")]
    )
    ((found,),) = psycopg.ClientCursor(conn).execute(explain, parameters).fetchall()
    return {f"{node['Schema']}.{node['Relation Name']}" for node in _nodes(found) if "Relation Name" in node}


def _head(before: sql.Composable | None) -> sql.Composed:
    return sql.Composed([before or sql.SQL(""), sql.SQL("SELECT * FROM (\n")])


def _nodes(plan: Any) -> Iterator[dict[str, Any]]:
    """Every node of a plan in JSON."""
    if isinstance(plan, list):
        for part in plan:
            yield from _nodes(part)
    elif isinstance(plan, dict):
        yield plan
        for part in plan.values():
            yield from _nodes(part)
