"""What every day depends on: the facility's zone and its rule for same-day stays, as the database has them.

The row in ops.facility is what counts, not the settings of a process: a commit and a build that were started at
different times cannot then differ. `wardstream.daily.zone` puts the settings there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from wardstream.database.connection import Connection, MissingTable


@dataclass(frozen=True)
class Facility:
    """The one row of ops.facility, and what day it is there."""

    timezone: str
    same_day_stay_days: int
    today: date


def read_facility(conn: Connection, today: date | None = None) -> Facility:
    """The facility; its today by PostgreSQL's clock now, unless one is given. MissingTable where there is no row."""
    row = conn.execute(
        "SELECT timezone, same_day_stay_days, coalesce(%s::date, (clock_timestamp() AT TIME ZONE timezone)::date)"
        " FROM ops.facility",
        [today],
    ).fetchone()
    if row is None:
        raise MissingTable("ops.facility has no row, so no day has a zone: run `wardstream migrate`")
    return Facility(*row)
