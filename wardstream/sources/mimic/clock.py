"""The facility's clock, on which a patient's facts may lie moved by whole weeks.

Weeks are added to what the clock on the wall shows, before it becomes UTC: weekday and hour stay what they were, on
whichever side of a change of the clock a fact comes to lie. Added to UTC they would put many facts an hour off.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True)
class Clock:
    """One patient's clock: the facility's zone, and how many weeks later (negative: earlier) all facts come to lie."""

    zone: ZoneInfo
    weeks: int = 0

    def utc(self, shown: datetime) -> datetime:
        """The instant, UTC, at which the clock shows this time (naive), moved. OverflowError outside the calendar.

        Where the clock showed it twice (autumn) the first is meant; where it never showed it (the gap in spring) it
        moves forward by the size of the gap. Both are what fold=0 means.
        """
        return (shown + timedelta(weeks=self.weeks)).replace(tzinfo=self.zone, fold=0).astimezone(UTC)

    def day(self, day: date) -> date:
        """A day of the facility's calendar, moved. OverflowError outside the calendar."""
        return day + timedelta(weeks=self.weeks)
