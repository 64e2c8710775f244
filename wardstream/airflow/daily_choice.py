"""Which days one run of spark_processing_dag builds, and what it built: the arguments of spark_jobs/daily.py.

A run that was scheduled takes all stale days, one that was triggered may narrow them, and one of a backfill takes the
days of each facility that begin in its interval, stale or not. Says nothing of how a day is built (`wardstream.daily`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from wardstream.contracts.sources import load_sources
from wardstream.daily.marts import load_marts
from wardstream.daily.stale import Day, Range, RangeError, by_facility, count_stale, stale_days
from wardstream.database.connection import connect
from wardstream.database.facility import read_facilities
from wardstream.settings import Settings

BUILT = """
SELECT mart_table, facility, day FROM ops.day_builds WHERE built_at >= %s ORDER BY mart_table, facility, day
"""


@dataclass
class Choice:
    """What to build: the job's arguments (empty: nothing) and the reasons, in words."""

    arguments: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


def days_beginning_in(start: datetime, end: datetime, zone: ZoneInfo) -> list[date]:
    """A facility's days whose first instant lies in [start, end); days of 23 and 25 hours count like any other."""
    first, last = start.astimezone(zone).date(), end.astimezone(zone).date()
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    return [day for day in days if start <= datetime.combine(day, time.min, zone).astimezone(UTC) < end]


def asked_range(params: Mapping[str, Any]) -> Range:
    """first_day, last_day and all_days of a triggered run; RangeError where they do not fit."""
    return Range(_day(params, "first_day"), _day(params, "last_day"), bool(params.get("all_days")))


def _day(params: Mapping[str, Any], name: str) -> date | None:
    text = params.get(name)
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise RangeError(f"{name} is no day in the form YYYY-MM-DD") from None


def choose(settings: Settings, params: Mapping[str, Any], dag_run: Any) -> Choice:
    """What this run is to build. RangeError where the parameters are no range of days."""
    if str(getattr(dag_run.run_type, "value", dag_run.run_type)) == "backfill":
        return _of_backfill(settings, dag_run.data_interval_start, dag_run.data_interval_end)
    wanted = asked_range(params)
    if wanted.all_days and wanted.first and wanted.last:
        return _every(wanted.first, wanted.last)
    return _stale(settings, wanted)


def _of_backfill(settings: Settings, start: datetime, end: datetime) -> Choice:
    zones = load_sources(settings.schemas_dir).zones(settings.facility_timezone)
    days = {name: days_beginning_in(start, end, ZoneInfo(zone)) for name, zone in zones.items()}
    beginning = {name: found for name, found in days.items() if found}
    interval = f"backfill of {start.astimezone(UTC):%Y-%m-%d %H:%M} to {end.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    if not beginning:
        why = f"no day of {', '.join(zones.values())} begins in it; the run in which one does builds it"
        return Choice(said=[f"{interval}: {why}", "nothing to build"])
    first, last = min(found[0] for found in beginning.values()), max(found[-1] for found in beginning.values())
    choice = _every(first, last, list(beginning) if len(zones) > 1 else [])
    return Choice(choice.arguments, [interval, *choice.said])


def _every(first: date, last: date, facilities: Sequence[str] = ()) -> Choice:
    of = f" of {', '.join(facilities)}" if facilities else ""
    said = f"to build: every day{of} from {first} to {last}, stale or not"
    only = [word for name in facilities for word in ("--facility", name)]
    return Choice(["--first", first.isoformat(), "--last", last.isoformat(), "--all-days", *only], [said])


def _stale(settings: Settings, wanted: Range) -> Choice:
    marts = load_marts(settings.sql_dir)
    with connect(settings.writer_url, "wardstream daily") as conn:
        several = len(read_facilities(conn)) > 1
        stale = {mart.table: list(stale_days(conn, mart, wanted)) for mart in marts}
    said = [f"mart.{table}: {len(days)} stale days{_span(days, several)}" for table, days in stale.items()]
    every = [day for days in stale.values() for _, day in days]
    if not every:
        return Choice(said=[*said, "nothing to build"])
    return Choice(["--first", min(every).isoformat(), "--last", max(every).isoformat()], said)


def _span(days: Sequence[Day], several: bool) -> str:
    """From when to when, by facility where there are several."""
    spans = [
        f"{min(found)} to {max(found)}" + (f" of {facility}" if several else "")
        for facility, found in by_facility(days).items()
    ]
    return f", {'; '.join(spans)}" if spans else ""


def built_since(settings: Settings, since: datetime) -> list[str]:
    """What was built since a run began, and what is stale (again), in words."""
    built: dict[str, list[Day]] = {}
    with connect(settings.writer_url, "wardstream daily") as conn:
        several = len(read_facilities(conn)) > 1
        for table, facility, day in conn.execute(BUILT, [since]):
            built.setdefault(table, []).append((facility, day))
    said = []
    for table, stale in count_stale(settings).items():
        days = built.get(table, [])
        left = f"{stale} stale now" + (", events came since" if stale else "")
        said.append(f"mart.{table}: {len(days)} days built{_span(days, several)}; {left}")
    return said
