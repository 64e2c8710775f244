"""Which days of the tables of sql/marts have to be built; sql/stale.sql beside this module is the rule."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from wardstream.daily.marts import Mart, load_marts
from wardstream.database.connection import Connection, beside, connect
from wardstream.proof.digest import digest_of
from wardstream.settings import Settings

Day = tuple[str, date]
"""A day of a facility's calendar, by the facility's name."""


class RangeError(ValueError):
    """A range of days that is none."""


@dataclass(frozen=True)
class Range:
    """Which days are asked for, each facility's by its own calendar, and the moment that it is taken to be (None: what
    PostgreSQL's clock says).

    `all_days`: days of the range that are not stale, too. `facilities`: only of these; empty: of all.
    """

    first: date | None = None
    last: date | None = None
    all_days: bool = False
    at: datetime | None = None
    facilities: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.all_days and (self.first is None or self.last is None):
            raise RangeError("all days of which range? --all-days needs --first and --last")
        if self.first and self.last and self.last < self.first:
            raise RangeError(f"the last day, {self.last}, lies before the first, {self.first}")

    def parameters(self, mart: Mart, definition: str) -> dict[str, Any]:
        """For sql/stale.sql."""
        return {
            "table": mart.table,
            "core": mart.metadata.core,
            "follows_today": mart.metadata.follows_today,
            "definition": definition,
            "first": self.first,
            "last": self.last,
            "all": self.all_days,
            "at": self.at,
            "facilities": list(self.facilities) or None,
        }


def definition_of(conn: Connection, mart: Mart) -> str:
    """A hash of what a table's numbers come from beside core: its files, and the rows of its reference tables now."""
    found = hashlib.sha256(mart.definition.encode())
    for reference in sorted(mart.metadata.references):
        schema, _, name = reference.partition(".")
        found.update(f"\0{reference}\0{digest_of(conn, schema, name)}".encode())
    return found.hexdigest()


def stale_days(
    conn: Connection, mart: Mart, wanted: Range | None = None, definition: str | None = None
) -> dict[Day, int]:
    """The days of a mart table that are to be built, in order, with the version that a build now would have."""
    parameters = (wanted or Range()).parameters(mart, definition or definition_of(conn, mart))
    return {(facility, day): version for facility, day, version in conn.execute(beside(__file__, "stale"), parameters)}


def by_facility(days: Iterable[Day]) -> dict[str, list[date]]:
    """The days of each facility, in the order in which they are given."""
    found: dict[str, list[date]] = {}
    for facility, day in days:
        found.setdefault(facility, []).append(day)
    return found


def count_stale(settings: Settings, first: date | None = None, last: date | None = None) -> dict[str, int]:
    """How many days of each mart table are stale in all facilities, from `first` to `last` where given."""
    marts = load_marts(settings.sql_dir)
    with connect(settings.writer_url, "wardstream daily") as conn:
        return {mart.table: len(stale_days(conn, mart, Range(first, last))) for mart in marts}
