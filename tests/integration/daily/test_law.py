"""The law: whatever was built between commits, on whatever days, the marts are in the end what one build gives.

Random facts in random order, cut into batches; days pass; builds happen in between or not. At the end every stale day
is built; then all is forgotten and built from nothing: the same digests, and both as counted in plain Python.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.commit.bench import ZONE
from tests.integration.commit.facts import Fact, event
from tests.integration.daily.clinic import TWO, Clinic, Two
from tests.integration.daily.test_zones import counted
from wardstream.daily.zone import apply_facilities

SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
FIRST = date(2026, 3, 1)
HOURS = [0.0, 4.9, 5.0, 30.0, 52.9, 53.0, 60.0, 100.0]  # midnight in New York is hour 5, 29, 53, 77, 101
IDS = [f"e{n}" for n in range(8)]


@dataclass(frozen=True)
class Step:
    """A batch, what day it is then, and whether there is a build afterwards, or another zone before."""

    facts: tuple[Fact, ...]
    today: date
    build: bool
    zone: str | None
    sources: str = TWO
    """Of the hospital of two facilities: its file of sources from now on."""


@st.composite
def stays(draw: st.DrawFn) -> Fact:
    """Any fact of one of two stays."""
    kind = draw(
        st.sampled_from(
            ["admitted"] * 3
            + ["discharged"] * 3
            + ["transferred"] * 2
            + ["updated", "cancelled_admit", "cancelled_transfer", "cancelled_discharge"]
        )
    )
    more: dict[str, Any] = {"encounter_id": draw(st.sampled_from(["E1", "E2"]))}
    if kind == "transferred":
        more |= {"movement_id": draw(st.sampled_from(["M1", "M2"])), "movement_type": "transfer"}
    elif kind in ("admitted", "updated"):
        more["service"] = draw(st.sampled_from(["MED", "SURG"]))
    elif kind == "discharged":
        more["died_in_hospital"] = draw(st.booleans())
    return "admissions", event(draw(st.sampled_from(IDS)), kind, draw(st.sampled_from(HOURS)), draw(times()), **more)


@st.composite
def labs(draw: st.DrawFn) -> Fact:
    """Any fact of one of two results."""
    more = {"lab_result_id": draw(st.sampled_from(["L1", "L2"])), "test_code": draw(st.sampled_from(["NA", "K"]))}
    kind = draw(st.sampled_from(["resulted", "corrected", "cancelled"]))
    value = draw(st.sampled_from([None, 0.0, -0.0, 4.1]))
    at = draw(st.sampled_from(HOURS))
    return "labs", event(draw(st.sampled_from(IDS)), kind, at, draw(times()), value_number=value, **more)


@st.composite
def diagnoses(draw: st.DrawFn) -> Fact:
    """Any fact of one of two diagnoses."""
    more = {"diagnosis_id": draw(st.sampled_from(["D1", "D2"])), "code": draw(st.sampled_from(["I10", "E119"]))}
    kind, at = draw(st.sampled_from(["recorded", "corrected", "cancelled"])), draw(st.sampled_from(HOURS))
    return "diagnoses", event(draw(st.sampled_from(IDS)), kind, at, draw(times()), encounter_id="E1", **more)


def times() -> st.SearchStrategy[float]:
    """When a fact was written down."""
    return st.sampled_from([0.0, 1.0, 2.0, 50.0, 110.0])


@st.composite
def histories(draw: st.DrawFn) -> list[Step]:
    """Batches over some days."""
    today, steps = FIRST, []
    for _ in range(draw(st.integers(2, 5))):
        today += timedelta(days=draw(st.sampled_from([0, 0, 1, 2])))
        facts = draw(st.lists(stays() | stays() | stays() | labs() | diagnoses(), max_size=5))
        zone = draw(st.sampled_from([None] * 9 + ["Asia/Tokyo", ZONE]))
        steps.append(Step(tuple(facts), today, draw(st.booleans()), zone))
    return steps


@st.composite
def corrected_stays(draw: st.DrawFn) -> list[Step]:
    """Stays over several nights, ten days apart, and one later batch that changes what counts on some of their days.

    Nothing else marks these days: they are over at the last commit, so that none is built again because today passes.
    """
    first: list[Fact] = draw(st.lists(labs() | diagnoses(), max_size=1))
    later: list[Fact] = []
    known = draw(st.sets(st.sampled_from(["arrival", "departure", "service"]), min_size=1))
    for number, what in enumerate([*sorted(known), "open until now"]):
        begin = 240.0 * number

        def told(kind: str, at: float, recorded: float, begin: float = begin, **more: Any) -> Fact:
            more["encounter_id"] = f"E{begin:.0f}"
            return "admissions", event(draw(st.sampled_from(IDS)), kind, begin + at, recorded, **more)

        comes, left = st.sampled_from([0.0, 5.0, 30.0]), draw(st.sampled_from([100.0, 160.0]))
        first.append(told("admitted", draw(comes), 0, service="MED"))
        if what != "open until now":
            first.append(told("discharged", left, 1))
        match what:
            case "arrival":
                later.append(told("admitted", draw(comes), 900, service="MED"))
            case "departure":
                at = draw(st.sampled_from([30.0, 60.0, left]))
                later.append(told("discharged", at, 900, died_in_hospital=draw(st.booleans())))
            case "service":
                later.append(told("updated", left, 900, service="SURG"))
            case _:
                later.append(told("discharged", left, 900))
    then = FIRST + timedelta(days=10 * len(known))  # the last stay begins
    return [
        Step(tuple(first), then, True, None),
        Step(tuple(later), then + timedelta(days=draw(st.integers(8, 10))), draw(st.booleans()), None),
    ]


FILES = [TWO, TWO.replace("Asia/Tokyo", "Europe/Berlin"), TWO.replace(", facility: tokyo", "")]


@st.composite
def in_two_facilities(draw: st.DrawFn) -> list[Step]:
    """The same from two systems that use the same ids, one of which moves, or whose facility gets another zone."""

    def by_either(fact: Fact) -> Fact:
        topic, body = fact
        return topic, {**body, "source": draw(st.sampled_from(["test", "test", "east"]))}

    steps, sources = [], TWO
    for step in draw(histories() | corrected_stays()):
        sources = draw(st.sampled_from([sources] * 4 + FILES))
        steps.append(replace(step, facts=tuple(map(by_either, step.facts)), sources=sources))
    return steps


def faults_of_two(two: Two, history: list[Step], last: date) -> list[str]:
    """As `faults`, in a hospital of two facilities."""
    two.begin()
    zone, sources = ZONE, TWO
    for step in history:
        two.today = step.today
        if step.zone or step.sources != sources:
            zone, sources = step.zone or zone, step.sources
            two.said(sources, zone)
        if step.facts:
            two.commit(*step.facts)
        if step.build:
            two.build()
    two.today = last
    two.build()
    pieces = two.bench.digest()
    in_main = {"test"} | ({"east"} if sources == FILES[2] else set())
    of_tokyo = "Europe/Berlin" if sources == FILES[1] else "Asia/Tokyo"
    try:
        counted(two, ZoneInfo(zone), "main", lambda source: source in in_main)
        counted(two, ZoneInfo(of_tokyo), "tokyo", lambda source: source not in in_main)
    except AssertionError as difference:
        return [str(difference)]
    return [*not_of_one_build(two, pieces), *two.bench.not_as_folded()]


def not_of_one_build(clinic: Clinic, pieces: dict[str, str]) -> list[str]:
    """The tables that are others when all is built at once."""
    clinic.forget_builds()
    clinic.build()
    whole = clinic.bench.digest()
    return [table for table in whole if whole[table] != pieces[table]]


def faults(clinic: Clinic, history: list[Step], last: date) -> list[str]:
    """Where the marts built in pieces differ from one build, or from a plain count."""
    clinic.bench.empty()
    apply_facilities(clinic.settings)
    zone = ZONE
    for step in history:
        clinic.today = step.today
        if step.zone:
            zone = step.zone
            apply_facilities(clinic.settings.model_copy(update={"facility_timezone": zone}))
        if step.facts:
            clinic.commit(*step.facts)
        if step.build:
            clinic.build()
    clinic.today = last
    clinic.build()
    pieces = clinic.bench.digest()
    try:
        counted(clinic, ZoneInfo(zone))
    except AssertionError as difference:
        return [str(difference)]
    return not_of_one_build(clinic, pieces)


def end(history: list[Step], later: int) -> date:
    """The day of the last build."""
    return history[-1].today + timedelta(days=later)


@settings(max_examples=12, deadline=None, derandomize=True, database=None, suppress_health_check=SLOW_IS_FINE)
@given(history=histories() | corrected_stays(), later=st.sampled_from([0, 1, 3]))
def test_builds_in_between_do_not_matter(shared_clinic, history, later):
    assert faults(shared_clinic, history, end(history, later)) == []


@settings(max_examples=12, deadline=None, derandomize=True, database=None, suppress_health_check=SLOW_IS_FINE)
@given(history=in_two_facilities(), later=st.sampled_from([0, 1, 3]))
def test_builds_in_between_do_not_matter_in_two_facilities(shared_two, history, later):
    assert faults_of_two(shared_two, history, end(history, later)) == []


@pytest.mark.campaign
@pytest.mark.timeout(0)
@settings(max_examples=int(os.environ.get("LAW_EXAMPLES", "300")), deadline=None, suppress_health_check=SLOW_IS_FINE)
@given(history=in_two_facilities(), later=st.sampled_from([0, 1, 3]))
def test_builds_in_between_do_not_matter_in_two_facilities_and_many_histories(shared_two, history, later):
    assert faults_of_two(shared_two, history, end(history, later)) == []


@pytest.mark.campaign
@pytest.mark.timeout(0)
@settings(max_examples=int(os.environ.get("LAW_EXAMPLES", "300")), deadline=None, suppress_health_check=SLOW_IS_FINE)
@given(history=histories() | corrected_stays(), later=st.sampled_from([0, 1, 3]))
def test_builds_in_between_do_not_matter_in_many_histories(shared_clinic, history, later):
    assert faults(shared_clinic, history, end(history, later)) == []
