"""Days as runs, and the conditions that cut core to days."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardstream.daily.runs import (
    AHEAD,
    FARTHEST,
    Run,
    chunks,
    enclosing,
    number,
    on_days,
    runs_of,
    share,
    touching_days,
)

DAYS = st.lists(st.dates(date(2025, 1, 1), date(2025, 3, 1)), unique=True, min_size=1).map(sorted)


def inside(run: Run) -> list[date]:
    return [run.first + timedelta(days=n) for n in range((run.last - run.first).days + 1)]


@given(DAYS)
def test_runs_hold_the_days_and_no_others(days):
    runs = runs_of(days)
    assert [day for run in runs for day in inside(run)] == days
    assert all(b.first - a.last > timedelta(days=1) for a, b in pairwise(runs))


@given(DAYS, st.integers(1, 20))
def test_few_runs_enclose_many(days, most):
    found = enclosing(runs_of(days), most)
    assert len(found) <= most
    assert set(days) <= {day for run in found for day in inside(run)}
    assert found == sorted(found, key=lambda run: run.first)


@given(DAYS, st.integers(1, 9))
def test_shares_hold_each_day_once_in_order(days, number_of):
    parts = share(days, number_of)
    assert [day for part in parts for day in part] == days
    assert all(parts) and len(parts) <= number_of


@given(DAYS, st.dates(date(2024, 10, 1), date(2025, 6, 1)), st.integers(1, 40))
def test_chunks_hold_each_day_once_and_the_newest_days_first(days, today, most):
    found = chunks(days, today, most)
    assert sorted(day for chunk in found for day in chunk) == days
    assert all(0 < len(chunk) <= most and chunk == sorted(chunk) for chunk in found)
    ahead = today + timedelta(days=AHEAD)
    late = [chunk[0] > ahead for chunk in found]
    assert late == sorted(late), "what lies far ahead comes last"
    past = [chunk for chunk in found if chunk[0] <= ahead]
    assert all(later[0] > earlier[-1] for later, earlier in pairwise(past)), "the past, newest first"


def test_one_wrong_date_does_not_hold_up_today():
    """A stay of 1800 that was never discharged, one that ends in 2299, and an ordinary week."""
    today = date(2026, 3, 2)
    stale = [date(1800, 1, 2) + timedelta(days=n) for n in range((date(2299, 12, 31) - date(1800, 1, 2)).days + 1)]
    first, second, *rest = chunks(stale, today, 366)
    assert (first[0], first[-1]) == (date(2025, 4, 2), date(2026, 4, 2))
    assert (second[0], second[-1]) == (date(2024, 4, 1), date(2025, 4, 1))
    assert rest[-1][-1] == date(2299, 12, 31)
    week = [today - timedelta(days=n) for n in range(7, 0, -1)]
    assert chunks([date(1800, 1, 2), *week], today, 366) == [week, [date(1800, 1, 2)]]


def test_no_zone_is_farther_from_utc():
    """The instants around a day hold every instant of it, in every zone there is, since 1800."""
    day = datetime(1800, 1, 1, tzinfo=UTC)
    worst = timedelta()
    for name in available_timezones():
        zone = ZoneInfo(name)
        for years in (0, 67, 68, 92, 93, 145, 180, 211, 212, 226):
            offset = day.replace(year=1800 + years).astimezone(zone).utcoffset()
            assert offset is not None
            worst = max(worst, abs(offset))
    assert timedelta(hours=15) < worst < FARTHEST


def test_a_run_encloses_its_instants():
    run = Run(date(2025, 3, 1), date(2025, 3, 2))
    assert run.from_at == datetime.combine(run.first, time(), UTC) - FARTHEST
    assert run.until_at == datetime.combine(date(2025, 3, 3), time(), UTC) + FARTHEST


def test_conditions_name_each_run():
    days = [date(2025, 3, 1), date(2025, 3, 2), date(2025, 3, 9)]
    assert on_days("at", days).count(" OR ") == 1
    assert f"BETWEEN {number(days[0])} AND {number(days[1])}" in on_days("at", days)
    assert "b IS NULL" in touching_days("a", "b", days, 1)
    assert touching_days("a", "b", days, 1).count("b IS NULL") == 1


@pytest.mark.parametrize(
    ("day", "expected"), [(date(1970, 1, 1), 0), (date(1969, 12, 31), -1), (date(2102, 8, 29), 48452)]
)
def test_days_are_numbered_from_1970(day, expected):
    assert number(day) == expected
