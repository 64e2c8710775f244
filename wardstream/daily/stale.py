"""Which days of the mart.daily_* tables have to be built; sql/marts/stale.sql is the rule."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from wardstream.daily.marts import TABLES, Mart, Marts, load_marts
from wardstream.database.connection import Connection, connect, trusted
from wardstream.settings import Settings

__all__ = ["TABLES", "Range", "count_stale", "stale_days"]


class RangeError(ValueError):
    """A range of days that is none."""


@dataclass(frozen=True)
class Range:
    """Which days are asked for, and what day it is taken to be (None: what PostgreSQL's clock says).

    `all_days`: days of the range that are not stale, too.
    """

    first: date | None = None
    last: date | None = None
    all_days: bool = False
    today: date | None = None

    def __post_init__(self) -> None:
        if self.all_days and (self.first is None or self.last is None):
            raise RangeError("all days of which range? --all-days needs --first and --last")
        if self.first and self.last and self.last < self.first:
            raise RangeError(f"the last day, {self.last}, lies before the first, {self.first}")

    def parameters(self, mart: Mart) -> dict[str, Any]:
        """For sql/marts/stale.sql."""
        return {
            "table": mart.table,
            "core": list(mart.core),
            "follows_today": mart.follows_today,
            "first": self.first,
            "last": self.last,
            "all": self.all_days,
            "today": self.today,
        }


def stale_days(conn: Connection, marts: Marts, mart: Mart, wanted: Range | None = None) -> dict[date, int]:
    """The days of a mart table that are to be built, in order, with the version that a build now would have."""
    found = conn.execute(trusted(marts.stale), (wanted or Range()).parameters(mart))
    return {day: version for day, version in found}


def count_stale(settings: Settings, first: date | None = None, last: date | None = None) -> dict[str, int]:
    """How many days of each mart table are stale, from `first` to `last` where given."""
    marts = load_marts(settings.sql_dir)
    with connect(settings.writer_url, "wardstream daily") as conn:
        return {mart.table: len(stale_days(conn, marts, mart, Range(first, last))) for mart in marts.tables}
