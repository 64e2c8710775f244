"""Which days of the facility begin in an interval: each day once, whatever the clocks do."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardstream.airflow.daily_choice import asked_range, choose, days_beginning_in
from wardstream.daily.stale import RangeError
from wardstream.settings import Settings

ZONES = ["America/New_York", "Europe/Berlin", "Asia/Kolkata", "Pacific/Apia", "America/Sao_Paulo", "Atlantic/Azores"]


@given(
    zone=st.sampled_from(ZONES).map(ZoneInfo),
    start=st.datetimes(datetime(2010, 1, 1), datetime(2027, 1, 1)),
    minutes=st.sampled_from([15, 60, 7 * 60, 24 * 60, 7 * 24 * 60]),
)
def test_intervals_that_tile_time_build_each_day_once(zone: ZoneInfo, start: datetime, minutes: int):
    """Every day of a stretch is built by exactly one of the runs of a backfill, also those of 23 and 25 hours."""
    begin, step = start.replace(tzinfo=UTC), timedelta(minutes=minutes)
    edges = [begin + step * n for n in range(max(3, 4 * 24 * 60 // minutes))]
    runs = itertools.pairwise(edges)
    built = [day for one, following in runs for day in days_beginning_in(one, following, zone)]
    assert len(built) == len(set(built)) and built == sorted(built)
    assert built == days_beginning_in(edges[0], edges[-1], zone)
    inside = {edge.astimezone(zone).date() for edge in edges[1:-1]} - {edges[0].astimezone(zone).date()}
    assert inside <= set(built)


@pytest.mark.parametrize(
    ("zone", "start", "minutes", "days"),
    [
        ("America/New_York", "2026-03-08T05:00", 15, [date(2026, 3, 8)]),  # the day of 23 hours
        ("America/New_York", "2026-03-09T04:00", 15, [date(2026, 3, 9)]),  # after it, an hour earlier
        ("America/New_York", "2026-03-09T05:00", 15, []),
        ("America/New_York", "2026-11-01T04:00", 15, [date(2026, 11, 1)]),  # the day of 25 hours
        ("America/New_York", "2026-11-02T05:00", 15, [date(2026, 11, 2)]),
        ("America/Sao_Paulo", "2018-11-04T03:00", 15, [date(2018, 11, 4)]),  # a day that begins at one o'clock
        ("UTC", "2026-03-01T00:00", 7 * 24 * 60, [date(2026, 3, day) for day in range(1, 8)]),
        ("Pacific/Apia", "2011-12-30T10:00", 15, [date(2011, 12, 31)]),  # the day that Samoa left out
    ],
)
def test_days_by_the_calendar(zone: str, start: str, minutes: int, days: list[date]):
    begin = datetime.fromisoformat(start).replace(tzinfo=UTC)
    assert days_beginning_in(begin, begin + timedelta(minutes=minutes), ZoneInfo(zone)) == days


def test_a_backfill_says_which_days_it_builds_without_asking_the_database():
    run = SimpleNamespace(
        run_type="backfill",
        data_interval_start=datetime(2026, 3, 1, 5, tzinfo=UTC),
        data_interval_end=datetime(2026, 3, 3, 5, tzinfo=UTC),
    )
    choice = choose(Settings(facility_timezone="America/New_York"), {}, run)
    assert choice.arguments == ["--first", "2026-03-01", "--last", "2026-03-02", "--all-days"]
    assert choice.said[-1] == "to build: every day from 2026-03-01 to 2026-03-02, stale or not"


@pytest.mark.parametrize(
    ("hour", "arguments"),
    [
        (5, ["--first", "2026-03-02", "--last", "2026-03-02", "--all-days", "--facility", "main"]),
        (15, ["--first", "2026-03-03", "--last", "2026-03-03", "--all-days", "--facility", "tokyo"]),
        (20, []),
    ],
)
def test_a_backfill_builds_a_day_of_each_facility_where_it_begins(tmp_path: Path, hour: int, arguments: list[str]):
    (tmp_path / "sources.yaml").write_text("facilities: {tokyo: {timezone: Asia/Tokyo}}")
    begin = datetime(2026, 3, 2, hour, tzinfo=UTC)
    run = SimpleNamespace(
        run_type="backfill", data_interval_start=begin, data_interval_end=begin + timedelta(minutes=15)
    )
    choice = choose(Settings(facility_timezone="America/New_York", schemas_dir=tmp_path), {}, run)
    assert choice.arguments == arguments
    assert "America/New_York, Asia/Tokyo" in choice.said[0] or f"of {arguments[-1]} from" in choice.said[-1]


@pytest.mark.parametrize("text", ["2026-02-30", "yesterday", "2026-3-1"])
def test_what_is_no_day_is_named(text: str):
    with pytest.raises(RangeError, match="first_day is no day"):
        asked_range({"first_day": text})
