"""What every day depends on: each facility's zone, and the rule for same-day stays, as the database has them.

The rows of ops.facilities and ops.hospital are what counts, not the file and the settings of a process: a commit and a
build that were started at different times cannot then differ. `wardstream.daily.zone` puts file and settings there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from wardstream.database.connection import Connection

NOW = "SELECT clock_timestamp()"
"""The moment that says what day it is in each facility."""


@dataclass(frozen=True)
class Facility:
    """A facility, the hospital's rule for same-day stays, and what day it is there."""

    name: str
    timezone: str
    same_day_stay_days: int
    today: date

    @property
    def parameters(self) -> dict[str, str | date]:
        """For reads and checks."""
        return {"facility": self.name, "zone": self.timezone, "today": self.today}


def read_facilities(conn: Connection, at: datetime | None = None) -> dict[str, Facility]:
    """Every facility by name, the default one first; today is by PostgreSQL's clock now, unless a moment is given."""
    rows = conn.execute(
        "SELECT facility, timezone, same_day_stay_days,"
        " (coalesce(%s::timestamptz, clock_timestamp()) AT TIME ZONE timezone)::date"
        " FROM ops.facilities CROSS JOIN ops.hospital ORDER BY facility <> default_facility, facility",
        [at],
    )
    return {facility.name: facility for facility in (Facility(*row) for row in rows)}
