"""Which days one run of spark_processing_dag builds, and what it built: the arguments of spark_jobs/daily.py.

A run that was scheduled takes all stale days, one that was triggered may narrow them, and one of a backfill takes the
days of the facility that begin in its interval, stale or not. Says nothing of how a day is built (`wardstream.daily`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from wardstream.daily.marts import load_marts
from wardstream.daily.stale import Range, RangeError, count_stale, stale_days
from wardstream.database.connection import connect
from wardstream.settings import Settings

BUILT = """
SELECT mart_table, count(*), min(day), max(day) FROM ops.day_builds WHERE built_at >= %s GROUP BY mart_table
"""


@dataclass
class Choice:
    """What to build: the job's arguments (empty: nothing) and the reasons, in words."""

    arguments: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


def days_beginning_in(start: datetime, end: datetime, zone: ZoneInfo) -> list[date]:
    """The facility's days whose first instant lies in [start, end); days of 23 and 25 hours count like any other."""
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
    days = days_beginning_in(start, end, settings.zone)
    interval = f"backfill of {start.astimezone(UTC):%Y-%m-%d %H:%M} to {end.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    if not days:
        why = f"no day of {settings.facility_timezone} begins in it; the run in which one does builds it"
        return Choice(said=[f"{interval}: {why}", "nothing to build"])
    choice = _every(days[0], days[-1])
    return Choice(choice.arguments, [interval, *choice.said])


def _every(first: date, last: date) -> Choice:
    said = f"to build: every day from {first} to {last}, stale or not"
    return Choice(["--first", first.isoformat(), "--last", last.isoformat(), "--all-days"], [said])


def _stale(settings: Settings, wanted: Range) -> Choice:
    marts = load_marts(settings.sql_dir)
    with connect(settings.writer_url, "wardstream daily") as conn:
        stale = {mart.table: list(stale_days(conn, mart, wanted)) for mart in marts}
    said = [
        f"mart.{table}: {len(days)} stale days" + (f", {min(days)} to {max(days)}" if days else "")
        for table, days in stale.items()
    ]
    every = [day for days in stale.values() for day in days]
    if not every:
        return Choice(said=[*said, "nothing to build"])
    return Choice(["--first", min(every).isoformat(), "--last", max(every).isoformat()], said)


def built_since(settings: Settings, since: datetime) -> list[str]:
    """What was built since a run began, and what is stale (again), in words."""
    with connect(settings.writer_url, "wardstream daily") as conn:
        built = {table: tuple(rest) for table, *rest in conn.execute(BUILT, [since])}
    left = count_stale(settings)
    said = []
    for table, stale in left.items():
        number, first, last = built.get(table, (0, None, None))
        days = f"{number} days built" + (f", {first} to {last}" if number else "")
        said.append(f"mart.{table}: {days}; {stale} stale now" + (", events came since" if stale else ""))
    return said
