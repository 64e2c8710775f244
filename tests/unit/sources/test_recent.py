"""The law of `--recent`: whole weeks of local time, the last stay overlaps the window, nothing later than its end."""

from __future__ import annotations

import csv
import gzip
import os
import re
import subprocess
import sys
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.sources import mimic_files
from wardstream.contracts.codec import Decoder, Encoder, split, to_raw
from wardstream.contracts.model import load_contracts
from wardstream.contracts.validate import Validator
from wardstream.settings import PROJECT_ROOT
from wardstream.sources.mimic.clock import Clock
from wardstream.sources.mimic.events import event_id, events
from wardstream.sources.mimic.recent import Recent, SpanError, Stay, Window, choose_weeks, last_stays, parse_days

NEW_YORK = ZoneInfo("America/New_York")
ZONES = [ZoneInfo(name) for name in ("America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Pacific/Apia", "UTC")]
WEEK = timedelta(weeks=1)
Found = list[tuple[str, dict[str, Any]]]

minutes = st.integers(0, 60 * 24 * 365 * 100).map(lambda n: datetime(2100, 1, 1) + timedelta(minutes=n))
ends = st.integers(0, 60 * 24 * 365 * 40).map(lambda n: datetime(2000, 1, 1, tzinfo=UTC) + timedelta(minutes=n))
windows = st.builds(Window, end=ends, days=st.integers(14, 400))
stays = st.tuples(minutes, st.integers(0, 60 * 24 * 60)).map(lambda s: (s[0], s[0] + timedelta(minutes=s[1])))
patients = st.integers(1, 10**6).map(str)


def local(instant: datetime, zone: ZoneInfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None)


def is_shown(clock: datetime, zone: ZoneInfo) -> bool:
    """Whether the clock ever shows this: not in a gap in spring."""
    return local(clock.replace(tzinfo=zone).astimezone(UTC), zone) == clock


# -- weeks of local time -------------------------------------------------------------------------------------------


@given(minutes, st.integers(-9000, 100), st.sampled_from(ZONES))
@example(datetime(2150, 1, 10, 8, 0), -6480, NEW_YORK)  # from winter into summer
def test_weekday_and_local_time_stay(shown: datetime, weeks: int, zone: ZoneInfo):
    there = local(Clock(zone, weeks).utc(shown), zone)
    meant = shown + weeks * WEEK
    assert there == meant or not is_shown(meant, zone)
    if there == meant:
        assert (there.weekday(), there.time()) == (shown.weekday(), shown.time())


@pytest.mark.parametrize(
    "shown, instant",
    [
        ("2150-03-08 02:30:00", "2026-03-08 07:30:00"),  # a gap in 2026: forward, to 03:30 by the clock
        ("2150-11-01 01:30:00", "2026-11-01 05:30:00"),  # shown twice in 2026: the first
        ("2150-07-05 08:00:00", "2026-07-05 12:00:00"),
        ("2150-12-06 08:00:00", "2026-12-06 13:00:00"),
    ],
)
def test_where_the_clock_changes(shown: str, instant: str):
    weeks = (date(2026, 3, 8) - date(2150, 3, 8)) // WEEK
    assert date(2150, 3, 8) + weeks * WEEK == date(2026, 3, 8)
    moved = Clock(NEW_YORK, weeks).utc(datetime.fromisoformat(shown))
    assert moved == datetime.fromisoformat(instant).replace(tzinfo=UTC)


# -- which number of weeks -----------------------------------------------------------------------------------------


@given(patients, stays, windows, st.sampled_from(ZONES))
def test_the_last_stay_overlaps_the_window(patient: str, stay: Stay, window: Window, zone: ZoneInfo):
    clock = Clock(zone, choose_weeks(patient, stay, window, zone))
    assert clock.utc(stay[0]) <= window.end
    assert clock.utc(stay[1]) >= window.start


@settings(deadline=None)  # how long an example takes depends on the machine
@given(stays, windows, st.sampled_from(ZONES))
def test_every_number_of_weeks_that_fits_is_somebodys(stay: Stay, window: Window, zone: ZoneInfo):
    about = (window.end.replace(tzinfo=None) - stay[0]) // WEEK
    fits = {
        n
        for n in range(about - 80, about + 3)
        if Clock(zone, n).utc(stay[0]) <= window.end and Clock(zone, n).utc(stay[1]) >= window.start
    }
    chosen = {choose_weeks(str(n), stay, window, zone) for n in range(12 * len(fits))}
    assert chosen <= fits
    assert len(chosen) > len(fits) / 2


def test_the_choice_is_fixed():
    """A golden value: another choice would move every patient of a database that has a window."""
    stay = datetime(2150, 1, 10, 8), datetime(2150, 1, 15, 12, 30)
    window = Window(datetime(2026, 11, 23, 4, 40, tzinfo=UTC), 90)
    chosen = [choose_weeks(str(n), stay, window, NEW_YORK) for n in range(5)]
    assert chosen == [-6428, -6430, -6434, -6432, -6436]


@pytest.mark.parametrize("text, days", [("90d", 90), ("12w", 84), ("2w", 14), ("3650d", 3650)])
def test_lengths(text: str, days: int):
    assert parse_days(text) == days


@pytest.mark.parametrize(
    "text", ["", "90", "d", "13d", "1w", "3651d", "-90d", "9.5w", "90 d", "90D", "3m", "90d\n", "\u0669\u0660d"]
)
def test_lengths_that_are_none(text: str):
    with pytest.raises(SpanError, match="such as 90d or 12w, from 14d to 3650d"):
        parse_days(text)


# -- what is known at the end --------------------------------------------------------------------------------------


def moved(folder: Path, end: datetime, days: int = 90, shuffle: int | None = None) -> Found:
    recent = Recent(Window(end, days), NEW_YORK, last_stays(folder))
    return list(events(folder, NEW_YORK, shuffle, recent))


def later(end: datetime, found: Found) -> list[tuple[str, str, str]]:
    """Times after the end: topic, kind and field."""
    return [
        (topic, event["kind"], name)
        for topic, event in found
        for name, value in event.items()
        if isinstance(value, datetime) and value > end
    ]


def with_lines(table: str, *lines: str) -> dict[str, list[str]]:
    return {**mimic_files.TABLES, table: [mimic_files.TABLES[table][0], *lines]}


WEEKS = (date(2026, 1, 10) - date(2150, 1, 10)) // WEEK


def at(folder: Path, shown: str, tables: dict[str, list[str]] | None = None) -> Found:
    """The made-up patient's facts as known when their clock showed this, in a window that moves them by WEEKS."""
    window = Window(Clock(NEW_YORK, WEEKS).utc(datetime.fromisoformat(shown)), 90)
    stay = last_stays(mimic_files.write(folder))["7"]
    somebody = next(n for n in range(1000, 2000) if choose_weeks(str(n), stay, window, NEW_YORK) == WEEKS)
    renamed = {
        name: [re.sub("^([0-9]+),7,", rf"\g<1>,{somebody},", line) for line in lines]
        for name, lines in (tables or mimic_files.TABLES).items()
    }
    return moved(mimic_files.write(folder, renamed), window.end)


def kinds(found: Found, stay: str = "100") -> list[tuple[str, str]]:
    return [(topic, event["kind"]) for topic, event in found if event.get("encounter_id") == stay]


def test_in_the_middle_of_the_last_stay(tmp_path: Path):
    found = at(tmp_path, "2150-01-12 07:59:00")
    assert kinds(found) == [("admissions", "admitted"), ("admissions", "transferred"), ("labs", "resulted")]
    assert kinds(found, "101") == [("admissions", "admitted"), ("admissions", "discharged"), ("diagnoses", "recorded")]
    (person,) = [event for topic, event in found if topic == "patients"]
    assert person["deceased"] is False
    assert person["birth_date"] is None  # MIMIC hides it
    assert ("admissions", "updated") in kinds(at(tmp_path, "2150-01-12 08:00:00"))  # the end belongs to the window
    whole = at(tmp_path, "2150-01-16 08:00:00")
    assert len(whole) == 15


def test_what_a_fact_says_about_later_is_held_back(tmp_path: Path):
    movement = next(e for _, e in at(tmp_path, "2150-01-11 08:04:00") if e["kind"] == "transferred")
    assert (movement["ward"], movement["ward_until"], movement["ward_hours"]) == ("52", None, None)
    movement = next(e for _, e in at(tmp_path, "2150-01-11 08:05:00") if e["kind"] == "transferred")
    assert movement["ward_hours"] == 24.0
    admitted = [e for _, e in at(tmp_path, "2150-01-10 08:04:00") if e["kind"] == "admitted"][-1]
    assert (admitted["service"], admitted["service_since"], admitted["admission_type"]) == (None, None, "EMERGENCY")


DIED = "1,7,F,2100-02-01 00:00:00,2150-01-15 00:00:00,2150-01-15 00:00:00,2150-01-16 00:00:00,1"


@pytest.mark.parametrize(
    "shown, deaths",
    [
        ("2150-01-12 08:00:00", [False, False, False]),
        ("2150-01-15 23:59:00", [False, False, False]),  # the day is not over, and the hour not known
        ("2150-01-16 00:00:00", [True, True, False]),
        ("2150-01-17 00:00:00", [True, True, True]),
    ],
)
def test_a_death_is_known_once_its_day_is_over(tmp_path: Path, shown: str, deaths: list[bool]):
    found = at(tmp_path, shown, with_lines("PATIENTS", DIED))
    (person,) = [event for topic, event in found if topic == "patients"]
    dates = [person[name] for name in ("death_date", "death_date_hospital", "death_date_registry")]
    assert [day is not None for day in dates] == deaths
    assert person["deceased"] is any(deaths)
    # moved like all else: born a Monday, and as old as before
    assert person["birth_date"].weekday() == date(2100, 2, 1).weekday()
    assert local(person["event_time"], NEW_YORK).date() - person["birth_date"] == date(2149, 6, 1) - date(2100, 2, 1)


def test_somebody_without_a_stay_has_no_place(tmp_path: Path):
    stranger = "59,8,,50893,1990-01-09 09:00:00,1,1,,"
    found = at(tmp_path, "2150-01-16 08:00:00", with_lines("LABEVENTS", stranger))
    assert len(found) == 15 - 3 and "8" not in {event["patient_id"] for _, event in found}


def test_ids_are_of_the_shift(tmp_path: Path):
    found = at(tmp_path, "2150-01-16 08:00:00")
    assert found[0][1]["event_id"] == event_id("PATIENTS", "1", "registered", str(WEEKS))
    plain = {event["event_id"] for _, event in events(tmp_path, NEW_YORK)}
    assert len(plain) == 15 and not plain & {event["event_id"] for _, event in found}


def test_shuffled_is_the_same_events(tmp_path: Path):
    end = datetime(2026, 11, 23, tzinfo=UTC)
    mimic_files.write(tmp_path)

    def by_id(found: Found) -> Found:
        return sorted(found, key=lambda fact: fact[1]["event_id"])

    assert by_id(moved(tmp_path, end)) == by_id(moved(tmp_path, end, shuffle=5))


# -- the real demo -------------------------------------------------------------------------------------------------

END = datetime(2026, 11, 23, 4, 40, tzinfo=UTC)


@pytest.fixture(scope="module")
def demo() -> Found:
    return moved(mimic_files.demo(), END)


def rows(table: str) -> list[dict[str, str]]:
    """A table of the demo, read without the source's own reader."""
    with gzip.open(mimic_files.demo() / f"{table}.csv.gz", "rt", newline="") as text:
        return list(csv.DictReader(text))


def test_everybody_is_there_and_some_are_in_the_house(demo: Found):
    admitted = {e["encounter_id"]: e["patient_id"] for _, e in demo if e["kind"] == "admitted"}
    discharged = {e["encounter_id"] for _, e in demo if e["kind"] == "discharged"}
    assert {e["patient_id"] for t, e in demo if t == "patients"} == {r["subject_id"] for r in rows("ADMISSIONS")}
    assert set(admitted.values()) == {r["subject_id"] for r in rows("PATIENTS")}
    still_there = admitted.keys() - discharged
    assert 0 < len(still_there) < len(admitted) / 2
    assert not {e["encounter_id"] for t, e in demo if t == "diagnoses"} & still_there
    dead = {e["patient_id"] for t, e in demo if t == "patients" and e["deceased"]}
    assert not dead & {admitted[stay] for stay in still_there}


def test_nothing_of_the_demo_is_later_than_the_end(demo: Found):
    assert later(END, demo) == []
    assert max(e["recorded_at"] for _, e in demo) <= END
    days = [value for _, e in demo for value in e.values() if type(value) is date]
    assert max(days) <= local(END, NEW_YORK).date()


def test_each_patient_of_the_demo_is_moved_as_a_whole(demo: Found):
    """Against the files: one number of whole weeks a patient for all times of stays, movements and results."""
    files = {("admitted", r["hadm_id"]): r["admittime"] for r in rows("ADMISSIONS")}
    files |= {("discharged", r["hadm_id"]): r["dischtime"] for r in rows("ADMISSIONS")}
    files |= {("transferred", r["row_id"]): r["intime"] for r in rows("TRANSFERS")}
    files |= {("resulted", r["row_id"]): r["charttime"] for r in rows("LABEVENTS")}
    by_patient: defaultdict[str, set[timedelta]] = defaultdict(set)
    compared = 0
    for _, event in demo:
        name = event.get("lab_result_id") or event.get("movement_id") or event.get("encounter_id")
        shown = files.get((event["kind"], name or ""))
        if shown is None:
            continue
        was, now = datetime.fromisoformat(shown), local(event["event_time"], NEW_YORK)
        by_patient[event["patient_id"]].add(now - was if (now - was) % WEEK == timedelta(0) else gap_closed(now, was))
        compared += 1
    assert compared > 40_000
    assert all(len(shifts) == 1 for shifts in by_patient.values())
    assert len({shift for shifts in by_patient.values() for shift in shifts}) > 50  # of their own


def gap_closed(now: datetime, was: datetime) -> timedelta:
    """The shift of a fact that fell into the gap in spring, and only there may come out an hour later."""
    meant = now - timedelta(hours=1)
    assert not is_shown(meant, NEW_YORK)
    assert (meant - was) % WEEK == timedelta(0)
    return meant - was


def test_again_it_is_the_same(demo: Found):
    assert moved(mimic_files.demo(), END) == demo
    assert len({event["event_id"] for _, event in demo}) == len(demo)


def test_every_event_is_accepted_and_none_by_the_exemption(demo: Found):
    """At the window's end, by the contract as it is for a source that is not declared historical."""
    contracts = load_contracts(PROJECT_ROOT / "schemas")
    encoders = {topic: Encoder(contract.latest, 1) for topic, contract in contracts.items()}
    decoders = {topic: Decoder(contract.latest) for topic, contract in contracts.items()}
    validators = {topic: Validator(contract) for topic, contract in contracts.items()}
    for topic, event in demo:
        decoded = decoders[topic].decode(split(encoders[topic].encode(event))[1])
        assert validators[topic]({**decoded, "source": "test"}, to_raw(END)) is None


# -- the command ---------------------------------------------------------------------------------------------------


def cli(*words: str) -> subprocess.CompletedProcess[str]:
    """`wardstream …` where no server is."""
    nowhere = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    return subprocess.run(
        [sys.executable, "-m", "wardstream.cli", *words],
        env={**os.environ, **nowhere},
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_bad_length_is_one_line(tmp_path: Path):
    done = cli("replay", "mimic-iii", str(tmp_path), "--recent", "3 months")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "--recent '3 months': give days or weeks, such as 90d or 12w, from 14d to 3650d\n"


def test_without_postgresql_it_says_so(tmp_path: Path):
    mimic_files.write(tmp_path)
    done = cli("replay", "mimic-iii", str(tmp_path), "--recent", "90d")
    assert (done.returncode, done.stdout) == (1, "")
    error, advice = done.stderr.splitlines()
    assert error.startswith("OperationalError: connection failed:") and "port 1 " in error
    assert advice == "is the stack up? `wardstream status` shows it, `wardstream up` starts it"
