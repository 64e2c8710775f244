"""One fold bound to a session: history -> core for the touched entities, and the days that change with them.

Used by the commit, by `wardstream rebuild`, by `verify` and when a facility's zone or a source's facility changes: all
compute core with the same statements. The days of a row are those of the facility of its source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql

from wardstream.contracts.model import VERSION_ORDER
from wardstream.database.connection import Connection, columns_of, names, primary_key_of, trusted, types_of
from wardstream.database.plan_error import PlanError
from wardstream.database.prepare import REFUSED
from wardstream.database.scratch import Scratch
from wardstream.stream.plan import Fold


def create_touched(scratch: Scratch) -> None:
    """Make the temporary tables `touched` (entities to fold) and `touched_days` (days of rows that changed)."""
    scratch.create("touched", sql.SQL("(authority text, key text)"))
    scratch.create("touched_days", sql.SQL("(core_table text, facility text, day date)"))


class Refold:
    """One fold bound to a connection: its core table, and the statements that compute and apply it."""

    def __init__(self, scratch: Scratch, fold: Fold, protocol: Mapping[str, str]) -> None:
        conn = scratch.conn
        self.fold = fold
        self._scratch = scratch
        self._folded = f"folded_{fold.table}"
        self.core = sql.Identifier("core", fold.table)
        self.columns = columns_of(conn, "core", fold.table)
        self.primary_key = primary_key_of(conn, f"core.{fold.table}")
        for column in ("authority", fold.key):
            if column not in self.primary_key:
                raise PlanError(
                    f"sql/folds/{fold.table}.sql: its key {column} is not part of the primary key of core.{fold.table};"
                    " docs/decisions/0024-an-id-belongs-to-an-authority.md has the migration"
                )
        check_days(conn, fold)
        check_source(fold, self.columns)
        for column in set(fold.ends) - set(self.columns):
            raise PlanError(f"sql/folds/{fold.table}.sql: '-- ends:' names {column}, which core.{fold.table} has not")
        self.folded = scratch.create(self._folded, sql.SQL("(LIKE {})").format(self.core))
        self._into = sql.SQL("INSERT INTO {} ({}) ").format(self.folded, names(self.columns))
        self._compute = self._into + self._rows(trusted(fold.query))
        self._fast = self._into + self._rows(trusted(fold.fast)) if fold.fast else None
        without_rows = trusted(protocol["touched_without_rows"]).format(
            folded=self.folded, key=sql.Identifier(fold.key)
        )
        of_these = sql.SQL("WITH touched AS MATERIALIZED ({}) ").format(without_rows)
        self._others = self._into + of_these + self._rows(trusted(fold.query))
        placed = [*fold.days, "source"]
        mark = protocol["mark_stays" if fold.days_are_span else "mark_rows"]
        self._replace = trusted(f"{protocol['replace_core']}\n{mark}").format(
            table=sql.Literal(fold.table),
            core=self.core,
            folded=self.folded,
            key=sql.Identifier(fold.key),
            pk=names(self.primary_key),
            core_pk=names(self.primary_key, "c"),
            one_pk=names(self.primary_key, "one"),
            folded_pk=names(self.primary_key, "f"),
            columns=names(self.columns),
            excluded=names(self.columns, "excluded"),
            old_compared=names(self._compared(), "old"),
            new_compared=names(self._compared(), "new"),
            placed=names(placed),
            **both_places(placed),
            **(_spans(fold) if fold.days_are_span else {"days": days_of(fold)}),
        )
        self._mark_all = trusted(protocol["mark_all_days"]).format(
            table=sql.Literal(fold.table), core=self.core, days=days_of(fold)
        )

    def _compared(self) -> list[str]:
        """Columns by which a row counts otherwise on all of its days: of a stay those that count throughout."""
        if self.fold.days_are_span:
            return [column for column in self.columns if column not in (*self.fold.days, *self.fold.ends)]
        return [column for column in self.columns if not (self.fold.of_greatest and column in VERSION_ORDER)]

    def _rows(self, query: sql.Composable) -> sql.Composed:
        return sql.SQL("SELECT {} FROM ({}) AS q").format(names(self.columns, "q"), query)

    def touch(self, keys: sql.Composable) -> None:
        """Fill `touched` with the entities that this SELECT gives: authority and key."""
        self._scratch.empty("touched")
        touched = self._scratch.conn.execute(sql.SQL("INSERT INTO touched (authority, key) {}").format(keys))
        self._scratch.filled("touched", touched.rowcount)

    def compute(self, known_at: str = "infinity") -> None:
        """Fill folded_<table> for the entities in `touched` from history as known at `known_at`: the definition."""
        self._scratch.empty(self._folded)
        self._fill(self._compute, known_at)

    def compute_fast(self) -> None:
        """The same as `compute`, by the fast path where the fold has one and it decides."""
        if self._fast is None:
            self.compute()
            return
        self._scratch.empty(self._folded)
        self._fill(self._fast)
        self._fill(self._others)

    def _fill(self, statement: sql.Composed, known_at: str = "infinity") -> None:
        folded = self._scratch.conn.execute(statement, {"known_at": known_at})
        self._scratch.filled(self._folded, folded.rowcount)

    def check(self) -> None:
        """PlanError where PostgreSQL cannot put what the fold gives into the core table; nothing is computed."""
        client = psycopg.ClientCursor(self._scratch.conn)
        for folder, statement in (("folds", self._compute), ("folds/fast", self._fast)):
            try:
                if statement is not None:
                    client.execute(sql.SQL("EXPLAIN ") + statement, {"known_at": "infinity"})
            except REFUSED as error:
                raise PlanError(f"sql/{folder}/{self.fold.table}.sql: {error.diag.message_primary}") from None

    def apply(self, now: datetime) -> None:
        """Put folded_<table> in the place of the touched rows of core; changed rows mark their days.

        `now` says what day it is in each facility.
        """
        self._mark(self._replace, {"now": now})

    def mark_all(self, now: datetime, sources: Sequence[str]) -> None:
        """Mark the days of every row that these sources gave the core table."""
        self._mark(self._mark_all, {"now": now, "sources": list(sources)})

    def _mark(self, statement: sql.Composed, parameters: Mapping[str, Any]) -> None:
        days = self._scratch.conn.execute(statement, parameters)
        self._scratch.filled("touched_days", days.rowcount)


def check_days(conn: Connection, fold: Fold) -> None:
    """PlanError where what places a row on a day is no instant."""
    kinds = types_of(conn, f"core.{fold.table}")
    for column in fold.days:
        if kinds.get(column) != "timestamp with time zone":
            kind = kinds.get(column, "no column")
            raise PlanError(
                f"sql/folds/{fold.table}.sql: '-- days:' names {column}, which is {kind} in core.{fold.table};"
                " name a timestamptz: the day of an instant depends on a facility's zone"
            )


def check_source(fold: Fold, columns: Sequence[str]) -> None:
    """PlanError where a row does not say of which facility its days are."""
    if "source" not in columns:
        raise PlanError(
            f"sql/folds/{fold.table}.sql: core.{fold.table} has no column source, which says of which"
            " facility the days of a row are; docs/decisions/0026-a-day-belongs-to-a-facility.md has the migration"
        )


def both_places(placed: Sequence[str]) -> dict[str, sql.Composed]:
    """What places a row on its days, as it was and as it becomes: out of RETURNING, and back by its own names."""
    parts: dict[str, sql.Composed] = {}
    for row, prefix in (("old", "was"), ("new", "now")):
        pairs = [(sql.Identifier(name), sql.Identifier(f"{prefix}_{name}")) for name in placed]
        out = [sql.SQL("{}.{} AS {}").format(sql.SQL(row), name, renamed) for name, renamed in pairs]
        parts[f"{row}_placed"] = sql.SQL(", ").join(out)
        back = [sql.SQL("{} AS {}").format(renamed, name) for name, renamed in pairs]
        parts[f"{prefix}_placed"] = sql.SQL(", ").join(back)
    return parts


def days_of(fold: Fold) -> sql.Composed:
    """A SELECT of the days of one row r by its facility's calendar, joined as of_r; a stay has each, up to today."""
    if fold.days_are_span:
        start, end = _span(fold, "r", "of_r")
        return sql.SQL("SELECT {start} + i AS day FROM generate_series(0, {end} - {start}) AS i").format(
            start=start, end=end
        )
    rows = sql.SQL(", ").join(sql.SQL("({})").format(day) for day in _dates(fold, "r", "of_r"))
    return sql.SQL("SELECT v.day FROM (VALUES {}) AS v (day) WHERE v.day IS NOT NULL").format(rows)


def _spans(fold: Fold) -> dict[str, sql.Composed]:
    """First and last day of a stay as it was, as it becomes, and of one that leaves."""
    rows = {"was": ("c", "was", "was_"), "now": ("c", "becomes", "now_"), "gone": ("r", "of_r", "")}
    spans = {name: _span(fold, *row) for name, row in rows.items()}
    return {f"{name}_{end}": day for name, span in spans.items() for end, day in zip(("from", "to"), span, strict=True)}


def _dates(fold: Fold, row: str, calendar: str, prefix: str = "") -> list[sql.Composed]:
    zone = sql.Identifier(calendar, "timezone")
    return [
        sql.SQL("({} AT TIME ZONE {})::date").format(sql.Identifier(row, prefix + column), zone) for column in fold.days
    ]


def _span(fold: Fold, row: str, calendar: str, prefix: str = "") -> tuple[sql.Composed, sql.Composed]:
    """The first and the last day of a stay."""
    at = _dates(fold, row, calendar, prefix)
    start = sql.SQL("least({}, {})").format(*at)
    today = sql.SQL("(%(now)s AT TIME ZONE {})::date").format(sql.Identifier(calendar, "timezone"))
    return start, sql.SQL("greatest({}, coalesce({}, {}))").format(*at, today)
