"""MIMIC-III as if it were now: each patient moved by whole weeks of their own, so that the last stay overlaps a window.

The number of weeks is chosen by a hash of the patient's id from those that make the last stay overlap: some patients
are then still in the house when the window ends. What is not known by then is held back: facts after the end, and what
facts before it say about later (when the ward was left, when somebody died). Nothing here reads this machine's clock or
a database: the same window gives the same events. Where it is kept: `windows`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from wardstream.sources.mimic.clock import Clock
from wardstream.sources.mimic.tables import read_table

WEEK = timedelta(weeks=1)
# Two weeks, so that every stay can be made to overlap: weeks of the clock are not all 168 hours long.
LEAST_DAYS, MOST_DAYS = 14, 3650
GOES_WITH = {"ward_until": ("ward_hours",), "service_since": ("service", "previous_service")}
"""Time of an event -> what else is not known before it has come."""
DEATHS = ("death_date", "death_date_hospital", "death_date_registry")
FIRST_BIRTH = date(1800, 1, 1)
"""The contract's lower bound. MIMIC hides ages over 89: such people are born 300 years before their first admission."""

Stay = tuple[datetime, datetime]
"""When a stay began and ended as the facility's clock showed it; never ended before it began."""


class SpanError(ValueError):
    """A length of the window that is none, or too short or too long."""


@dataclass(frozen=True)
class Window:
    """The last `days` days before `end` (aware)."""

    end: datetime
    days: int

    @property
    def start(self) -> datetime:
        """When it begins, UTC."""
        return self.end - timedelta(days=self.days)

    def __str__(self) -> str:
        return f"the {self.days} days up to {self.end.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def parse_days(text: str) -> int:
    """Days of a length such as 90d or 12w; SpanError for anything else."""
    found = re.fullmatch(r"([0-9]{1,4})([dw])", text)
    days = int(found[1]) * (7 if found[2] == "w" else 1) if found else 0
    if not LEAST_DAYS <= days <= MOST_DAYS:
        raise SpanError(
            f"--recent {text!r}: give days or weeks, such as 90d or 12w, from {LEAST_DAYS}d to {MOST_DAYS}d"
        )
    return days


def last_stays(folder: Path) -> dict[str, Stay]:
    """Patient -> the stay that began last (ties: the one that ended last). MimicError as `read_table`."""
    last: dict[str, Stay] = {}
    for row in read_table(folder, "ADMISSIONS"):
        admitted, discharged = row.need_shown("admittime"), row.need_shown("dischtime")
        stay = admitted, max(admitted, discharged)
        person = row.need("subject_id")
        last[person] = max(stay, last.get(person, stay))
    return last


def choose_weeks(patient_id: str, stay: Stay, window: Window, zone: ZoneInfo) -> int:
    """By how many weeks the patient is moved: one of those with which the stay overlaps the window."""
    admitted, discharged = stay

    # The clock on the wall says it to a day or so, hence to a week more or less; UTC decides.
    def near(bound: datetime, shown: datetime) -> range:
        about = (bound.astimezone(zone).replace(tzinfo=None) - shown) // WEEK
        return range(about - 1, about + 3)

    most = max(n for n in near(window.end, admitted) if Clock(zone, n).utc(admitted) <= window.end)
    least = min(n for n in near(window.start, discharged) if Clock(zone, n).utc(discharged) >= window.start)
    number = int.from_bytes(hashlib.sha256(f"recent:{patient_id}".encode()).digest()[:8])
    return least + number % (most - least + 1)


class Recent:
    """Where each patient's facts come to lie, and what of them is known when the window ends."""

    def __init__(self, window: Window, zone: ZoneInfo, stays: dict[str, Stay]) -> None:
        """`stays`: of `last_stays`. Somebody without one has no place in the window: all facts are held back."""
        self.window = window
        self._zone = zone
        self._today = window.end.astimezone(zone).date()
        self._clocks = {person: Clock(zone, choose_weeks(person, stay, window, zone)) for person, stay in stays.items()}

    def clock(self, patient_id: str) -> Clock:
        """The patient's clock."""
        return self._clocks.get(patient_id, Clock(self._zone))

    def known(self, event: dict[str, Any]) -> dict[str, Any] | None:
        """The event as it is known at the window's end; None for one that is not known by then."""
        end = self.window.end
        if event["patient_id"] not in self._clocks or max(event["event_time"], event["recorded_at"]) > end:
            return None
        later = [name for name, value in event.items() if isinstance(value, datetime) and value > end]
        hidden = dict.fromkeys([*later, *(other for name in later for other in GOES_WITH.get(name, ()))])
        return {**event, **hidden, **(self._person(event) if event["kind"] == "registered" else {})}

    def _person(self, event: dict[str, Any]) -> dict[str, Any]:
        """Birth and death: an age that MIMIC hides is no age, and a death is known once its day is over."""
        born = event["birth_date"]
        died = {name: event[name] if event[name] and event[name] < self._today else None for name in DEATHS}
        return {
            **died,
            "birth_date": born if born and born >= FIRST_BIRTH else None,
            "deceased": event["deceased"] and any(died.values()),
        }
