"""Days as runs of consecutive days, and the instants that enclose them: how core is read by day.

PostgreSQL alone decides on which day an instant lies, (at AT TIME ZONE zone)::date: one time zone database, the same as
the commit's, whatever the zone does at midnight. The instants here only let it use an index: no zone has ever been 16
hours or more from UTC, so every instant of a day lies within 16 hours of that day in UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise

FARTHEST = timedelta(hours=16)
DAY = timedelta(days=1)
EPOCH = date(1970, 1, 1)
AHEAD = 31
"""Days after today that still lie around it: discharges are planned."""


@dataclass(frozen=True)
class Run:
    """Consecutive days, first to last."""

    first: date
    last: date

    @property
    def from_at(self) -> datetime:
        """No instant of the first day is before this."""
        return datetime.combine(self.first, time(), UTC) - FARTHEST

    @property
    def until_at(self) -> datetime:
        """All instants of the last day are before this."""
        return datetime.combine(self.last, time(), UTC) + DAY + FARTHEST


def runs_of(days: Sequence[date]) -> list[Run]:
    """Sorted, different days as the fewest runs."""
    ends = [0, *(i for i, (a, b) in enumerate(pairwise(days), 1) if b - a > DAY), len(days)]
    return [Run(days[a], days[b - 1]) for a, b in pairwise(ends) if a < b]


def enclosing(runs: Sequence[Run], most: int) -> list[Run]:
    """At most `most` runs that contain the given ones: the smallest gaps are closed."""
    gaps = sorted(range(1, len(runs)), key=lambda i: (runs[i].first - runs[i - 1].last, i), reverse=True)
    cuts = [0, *sorted(gaps[: most - 1]), len(runs)]
    return [Run(runs[a].first, runs[b - 1].last) for a, b in pairwise(cuts) if a < b]


def chunks(days: Sequence[date], today: date, most: int) -> list[list[date]]:
    """Sorted days in sorted lists of at most `most`, in the order in which they are wanted: the days around today
    first, then the past, newest first, then what lies farther ahead.

    One wrong date in the far past or future leaves thousands of days to build: today's numbers do not wait for them.
    """
    last = today + timedelta(days=AHEAD)
    first = last - timedelta(days=most - 1)
    near = [day for day in days if first <= day <= last]
    past = [day for day in days if day < first]
    ahead = [day for day in days if day > last]
    backwards = [past[max(end - most, 0) : end] for end in range(len(past), 0, -most)]
    return [near] * bool(near) + backwards + [ahead[start : start + most] for start in range(0, len(ahead), most)]


def share(days: Sequence[date], parts: int) -> list[list[date]]:
    """The days in at most `parts` lists of about equal length, none empty."""
    cuts = [len(days) * i // parts for i in range(parts + 1)]
    return [list(days[a:b]) for a, b in pairwise(cuts) if a < b]


def number(day: date) -> int:
    """Days since 1970-01-01: how days go to Spark and back, so that no JVM's own zone touches them."""
    return (day - EPOCH).days


def on_days(column: str, days: Sequence[date]) -> str:
    """SQL: the row's `day` is one of these; with the instants around them, for the index on `column`."""
    return " OR ".join(
        f"({column} >= '{run.from_at.isoformat()}' AND {column} < '{run.until_at.isoformat()}'"
        f" AND day BETWEEN {number(run.first)} AND {number(run.last)})"
        for run in runs_of(days)
    )


def touching_days(start: str, end: str, days: Sequence[date], most: int) -> str:
    """SQL: a span from `start` to `end` (null: not over yet) begins, ends or lasts on one of these days, or near."""
    return " OR ".join(
        f"({start} < '{u}' AND ({end} IS NULL OR {end} >= '{f}' OR {start} >= '{f}'))"
        f" OR ({end} >= '{f}' AND {end} < '{u}')"
        for f, u in ((r.from_at.isoformat(), r.until_at.isoformat()) for r in enclosing(runs_of(days), most))
    )
