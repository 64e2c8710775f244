"""Two facilities in two zones: each has its own days, and what changes in one builds no day of the other."""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from tests.integration.commit.facts import Fact, lab, stay
from tests.integration.daily.clinic import TWO, Two
from tests.integration.daily.test_local_days import COUNTED, DAILY
from tests.integration.daily.test_which_days import MARCH
from tests.integration.daily.test_zones import counted
from wardstream.airflow import daily_choice
from wardstream.daily.build import run
from wardstream.daily.stale import Range, count_stale, stale_days
from wardstream.watch import stale as watch

ZONES = {"main": "America/New_York", "tokyo": "Asia/Tokyo"}
TABLES = ("daily_admissions", "daily_diagnoses", "daily_labs")


def east(fact: Fact) -> Fact:
    """The same, said by the system in Tokyo."""
    topic, body = fact
    return topic, {**body, "source": "east"}


def a_week(two: Two) -> None:
    """In each facility, at the same moments: a stay with a transfer, results on four days, a diagnosis. All built."""
    two.today = date(2026, 3, 20)
    facts: list[Fact] = []
    for n, who in enumerate(["main", "tokyo"]):
        name = f"{who}-"
        mine: list[Fact] = [
            stay(f"{name}a", "admitted", 16, encounter_id=f"E{n}", service="MED"),
            stay(f"{name}t", "transferred", 40, encounter_id=f"E{n}", movement_id="M", movement_type="transfer"),
            stay(f"{name}d", "discharged", 64, encounter_id=f"E{n}"),
            *(lab(f"{name}{d}", "resulted", 16 + 24 * d, lab_result_id=f"L{n}{d}", test_code="NA") for d in range(4)),
            ("diagnoses", {**stay(f"{name}x", "recorded", 16)[1], "diagnosis_id": f"D{n}", "code": "I10"}),
        ]
        facts += mine if who == "main" else [east(fact) for fact in mine]
    two.commit(*facts)
    two.build()
    assert [two.stale_by_facility(table) for table in TABLES] == [[], [], []]


def each_counts_its_own(two: Two, zones: dict[str, str]) -> None:
    """Both facilities equal a plain count of the rows of their source."""
    counted(two, ZoneInfo(zones["main"]), "main", lambda source: source == "test")
    counted(two, ZoneInfo(zones["tokyo"]), "tokyo", lambda source: source == "east")


Build = tuple[str, str, date]


def builds(two: Two) -> dict[Build, object]:
    rows = two.bench.rows("SELECT mart_table, facility, day, built_at FROM ops.day_builds")
    return {(table, facility, day): at for table, facility, day, at in rows}


def built_since(two: Two, before: dict[Build, object]) -> set[Build]:
    return {day for day, at in builds(two).items() if before.get(day) != at}


def test_the_same_moments_are_other_days_in_another_facility(two: Two) -> None:
    a_week(two)
    each_counts_its_own(two, ZONES)
    days = two.bench.rows("SELECT DISTINCT facility, day FROM mart.daily_labs ORDER BY 1, 2")
    assert days == [("main", day) for day in MARCH[1:5]] + [("tokyo", day) for day in MARCH[2:6]]


def test_the_days_of_the_views_are_those_of_the_daily_tables(two: Two) -> None:
    a_week(two)
    for facility in ZONES:
        of_view = COUNTED.replace("FROM mart.admissions", f"FROM mart.admissions WHERE facility = '{facility}'")
        of_table = DAILY.replace("GROUP", f"WHERE facility = '{facility}' GROUP")
        assert two.bench.rows(of_view) == two.bench.rows(of_table) != []
    assert two.bench.rows("SELECT DISTINCT facility, coded_day FROM mart.diagnoses ORDER BY 1") == [
        ("main", MARCH[1]),
        ("tokyo", MARCH[2]),
    ]


def test_a_late_result_builds_its_day_of_its_facility(two: Two) -> None:
    a_week(two)
    before = builds(two)
    two.commit(east(lab("late", "resulted", 16, 200, lab_result_id="L9", test_code="K")))
    two.build()
    assert built_since(two, before) == {("daily_labs", "tokyo", MARCH[2])}
    each_counts_its_own(two, ZONES)


def test_a_change_of_one_zone_builds_the_days_of_that_facility(two: Two) -> None:
    a_week(two)
    before = builds(two)
    two.said(TWO.replace("Asia/Tokyo", "Europe/Berlin"))
    two.build()
    assert {facility for _, facility, _ in built_since(two, before)} == {"tokyo"}
    each_counts_its_own(two, {**ZONES, "tokyo": "Europe/Berlin"})


def test_a_source_that_moves_builds_the_days_of_its_rows_in_both(two: Two) -> None:
    a_week(two)
    two.commit(lab("far", "resulted", 300, lab_result_id="L8", test_code="NA"))  # a day on which nothing moves
    two.build()
    before = builds(two)
    two.said(TWO.replace(", facility: tokyo", ""))
    two.build()
    assert {(f, day) for table, f, day in built_since(two, before) if table == "daily_labs"} == {
        *(("main", day) for day in MARCH[1:5]),
        *(("tokyo", day) for day in MARCH[2:6]),
    }
    counted(two, ZoneInfo(ZONES["main"]))
    assert two.bench.rows("SELECT count(*) FROM mart.daily_labs WHERE facility = 'tokyo'") == [(0,)]


def test_a_stay_counts_up_to_today_where_it_is(two: Two) -> None:
    """At 20:00 UTC it is still the 4th in New York and already the 5th in Tokyo, whose 4th is over."""
    two.commit(stay("a", "admitted", 16), east(stay("b", "admitted", -8, encounter_id="E2")))  # the 2nd in each
    two.bench.admin.execute("DELETE FROM ops.day_versions")  # days that pass are marked by nobody
    two.builder.build(two.mart("daily_admissions"), Range(at=datetime(2026, 3, 4, 20, tzinfo=UTC)))
    census = "SELECT facility, day, midnight_census FROM mart.daily_admissions ORDER BY 1, 2"
    assert two.bench.rows(census) == [
        *(("main", day, 1) for day in MARCH[1:3]),
        *(("tokyo", day, 1) for day in MARCH[1:4]),
    ]
    assert set(builds(two)) == {
        *(("daily_admissions", "main", day) for day in MARCH[1:4]),
        *(("daily_admissions", "tokyo", day) for day in MARCH[1:5]),
    }
    later = Range(at=datetime(2026, 3, 5, 6, tzinfo=UTC))  # the 5th in New York, too
    stale = list(stale_days(two.conn, two.mart("daily_admissions"), later))
    assert stale == [("main", MARCH[3]), ("main", MARCH[4])]


def test_a_transfer_that_another_facility_sent_does_not_count(two: Two) -> None:
    """A change of the stay marks days of its own facility: what counts elsewhere would be wrong and not stale."""
    two.today = date(2026, 3, 20)
    move: dict[str, Any] = {"movement_id": "M", "movement_type": "transfer"}
    two.commit(stay("a", "admitted", 10, service="MED"), east(stay("t", "transferred", 40, **move)))
    two.commit(stay("u", "updated", 41, service="MED"), stay("d", "discharged", 60))
    two.build()
    assert two.bench.rows("SELECT coalesce(sum(transfers), 0)::int FROM mart.daily_admissions") == [(0,)]
    each_counts_its_own(two, ZONES)


def test_what_is_shown_by_day_says_the_facility(two: Two, monkeypatch, caplog, sql_of) -> None:
    a_week(two)
    begun = two.bench.rows("SELECT clock_timestamp()")[0][0]
    late = [lab("k", "resulted", 16, 200, lab_result_id="K1"), lab("l", "resulted", 64, 200, lab_result_id="K2")]
    two.commit(late[0], east(late[1]))
    assert count_stale(two.settings) == {"daily_admissions": 0, "daily_diagnoses": 0, "daily_labs": 2}
    run_type = type("Run", (), {"run_type": "manual"})
    assert daily_choice.choose(two.settings, {}, run_type).said[2] == (
        "mart.daily_labs: 2 stale days, 2026-03-02 to 2026-03-02 of main; 2026-03-05 to 2026-03-05 of tokyo"
    )
    watch.find(two.settings)
    two.bench.admin.execute("UPDATE ops.stale_days SET seen_at = now() - interval '3 hours' WHERE facility = 'tokyo'")
    found = watch.find(two.settings)
    assert found is not None and found.said.endswith("the earliest is 2026-03-05 of tokyo")

    monkeypatch.setattr(two.spark, "stop", lambda: None)
    with caplog.at_level(logging.INFO):
        assert run(two.settings, two.range(facilities=("tokyo",)), lambda _settings: two.spark) == 0
    assert "mart.daily_labs of tokyo: 1 days built, 2 rows" in caplog.text
    assert two.stale_by_facility("daily_labs") == [("main", MARCH[1])]
    assert "mart.daily_labs: 1 days built, 2026-03-05 to 2026-03-05 of tokyo; 1 stale now, events came since" in (
        daily_choice.built_since(two.settings, begun)
    )
    assert run(two.settings, two.range(facilities=("osaka",)), lambda _settings: two.spark) == 1
    assert "there is no facility osaka; there are: main, tokyo" in caplog.text


def test_a_check_that_fails_in_one_facility_holds_back_its_days_alone(two: Two, monkeypatch, caplog, sql_of) -> None:
    a_week(two)
    two.forget_builds()
    wrong = "SELECT 'wrong', day FROM built WHERE %(facility)s = 'tokyo'\nUNION ALL\nSELECT 'two rows"
    changed = sql_of("daily_labs/checks.sql", "SELECT 'two rows", wrong)
    settings = two.settings.model_copy(update={"sql_dir": changed.sql_dir})
    monkeypatch.setattr(two.spark, "stop", lambda: None)
    assert run(settings, two.range(), lambda _settings: two.spark) == 1
    assert "mart.daily_labs of tokyo: a check failed" in caplog.text
    assert two.bench.rows("SELECT DISTINCT facility FROM mart.daily_labs") == [("main",)]
    assert {f for f, _ in two.stale_by_facility("daily_labs")} == {"tokyo"}
