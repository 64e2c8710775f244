"""What a stay is, by example: facts in, the row of core.encounters and its movements out.

Each example is committed twice, as listed and backwards one by one: the row must be the same.
Numbers are hours since Monday 00:00 (facts.hour); without `recorded` a fact is written down when it happens.
"""

from decimal import Decimal
from typing import Any

import pytest

from tests.integration.commit.facts import Fact, hour, stay

ADMITTED = stay("a", "admitted", 8, ward="ER", service="MED")
DISCHARGED = stay("d", "discharged", 60, discharge_disposition="HOME")
TO_A = stay("t1", "transferred", 10, movement_id="M1", ward="A")
TO_B = stay("t2", "transferred", 20, movement_id="M2", ward="B")
OPEN = {"status": "open", "admitted_at": hour(8), "discharged_at": None}
OVER = {"status": "discharged", "admitted_at": hour(8), "discharged_at": hour(60), "ward_now": None}
GONE: dict[str, Any] = {}  # no fact holds: no row

STAYS: dict[str, tuple[list[Fact], dict[str, Any]]] = {
    "an open stay": ([ADMITTED], {**OPEN, "ward_now": "ER", "service": "MED"}),
    "a discharge": ([ADMITTED, TO_A, DISCHARGED], {**OVER, "discharge_disposition": "HOME"}),
    "the ward now is the last by the hospital's clock, not the last written down": (
        [ADMITTED, TO_B, stay("t1", "transferred", 10, 30, movement_id="M1", ward="A")],
        {**OPEN, "ward_now": "B"},
    ),
    "two moves at one instant: the later version is the ward now": (
        [ADMITTED, TO_A, stay("t2", "transferred", 10, 11, movement_id="M2", ward="B")],
        {**OPEN, "ward_now": "B"},
    ),
    "a corrected time of admission": (
        [ADMITTED, stay("a2", "admitted", 7, 9, service="MED")],
        {**OPEN, "admitted_at": hour(7)},
    ),
    "a correction arrives with the same clock: source_seq decides": (
        [stay("z", "admitted", 7, 9), stay("a2", "admitted", 6, 9, source_seq=1)],
        {"admitted_at": hour(6)},
    ),
    "a corrected discharge": (
        [ADMITTED, DISCHARGED, stay("d2", "discharged", 61, 62, discharge_disposition="SNF")],
        {**OVER, "discharged_at": hour(61), "discharge_disposition": "SNF"},
    ),
    "an update restates the registration and moves nothing": (
        [ADMITTED, stay("u", "updated", 12, service="SURG")],
        {**OPEN, "service": "SURG", "ward_now": "ER"},
    ),
    "a cancelled admission with nothing else leaves no stay": ([ADMITTED, stay("c", "cancelled_admit", 9)], GONE),
    "the same by name": ([ADMITTED, stay("c", "cancelled_admit", 9, cancels_event_id="a")], GONE),
    "a cancellation by name of nobody changes nothing": (
        [ADMITTED, stay("c", "cancelled_admit", 9, cancels_event_id="other")],
        OPEN,
    ),
    "a cancellation by name of another kind of fact changes nothing": (
        [ADMITTED, DISCHARGED, stay("c", "cancelled_admit", 70, cancels_event_id="d")],
        OVER,
    ),
    "a cancelled admission with a discharge left is a cancelled stay": (
        [ADMITTED, stay("c", "cancelled_admit", 9), DISCHARGED],
        {"status": "cancelled", "admitted_at": None, "discharged_at": hour(60)},
    ),
    "a cancellation written down before what it names still cancels it": (
        [stay("c", "cancelled_admit", 9, 7, cancels_event_id="a"), ADMITTED],
        GONE,
    ),
    "a cancellation without a name takes only what is before it": (
        [stay("c", "cancelled_admit", 9, 7), ADMITTED],
        OPEN,
    ),
    "a cancelled version takes the versions before it along": (
        [ADMITTED, stay("a2", "admitted", 7, 9), stay("c", "cancelled_admit", 10, cancels_event_id="a")],
        GONE,
    ),
    "an update does not revive": (
        [ADMITTED, stay("c", "cancelled_admit", 9), stay("u", "updated", 12, service="SURG")],
        {"status": "cancelled", "admitted_at": None, "service": "SURG"},
    ),
    "a new admit does": (
        [ADMITTED, stay("c", "cancelled_admit", 9), stay("a2", "admitted", 11, service="SURG")],
        {"status": "open", "admitted_at": hour(11), "service": "SURG"},
    ),
    "and can be cancelled again": (
        [ADMITTED, stay("c", "cancelled_admit", 9), stay("a2", "admitted", 11), stay("c2", "cancelled_admit", 12)],
        GONE,
    ),
    "a cancelled transfer: back to the ward before": (
        [ADMITTED, TO_A, TO_B, stay("c", "cancelled_transfer", 21)],
        {**OPEN, "ward_now": "A"},
    ),
    "a cancelled transfer by name: the one named": (
        [ADMITTED, TO_A, TO_B, stay("c", "cancelled_transfer", 21, cancels_event_id="t1")],
        {**OPEN, "ward_now": "B"},
    ),
    "all transfers cancelled: the ward of the admission": (
        [ADMITTED, TO_A, stay("c", "cancelled_transfer", 11)],
        {**OPEN, "ward_now": "ER"},
    ),
    "a cancelled discharge opens the stay again": (
        [ADMITTED, TO_A, DISCHARGED, stay("c", "cancelled_discharge", 61)],
        {**OPEN, "ward_now": "A", "discharge_disposition": None},
    ),
    "a discharge alone is unconfirmed": (
        [DISCHARGED],
        {"status": "unconfirmed", "admitted_at": None, "discharged_at": hour(60)},
    ),
    "a transfer alone is unconfirmed": ([TO_A], {"status": "unconfirmed", "ward_now": "A"}),
    "one id, two bodies: both are facts, the greater version holds": (
        [ADMITTED, stay("a", "admitted", 8, 9, ward="ER", service="SURG")],
        {**OPEN, "service": "SURG"},
    ),
}


@pytest.mark.parametrize("example", STAYS)
def test_stay(bench, example):
    facts, wanted = STAYS[example]
    bench.commit(*facts)
    found = bench.row("core.encounters")
    if wanted:
        assert found is not None and {name: found[name] for name in wanted} == wanted
    else:
        assert found is None
    in_mart = found is not None and found["status"] in ("open", "discharged")
    assert (bench.row("mart.admissions") is not None) == in_mart
    bench.empty()
    for fact in reversed(facts):
        bench.commit(fact)
    assert bench.row("core.encounters") == found


MOVEMENTS: dict[str, tuple[list[Fact], dict[str, tuple[str, Any]]]] = {
    "the next movement ends one": ([TO_A, TO_B], {"M1": ("active", hour(20)), "M2": ("active", None)}),
    "the discharge ends the last": (
        [ADMITTED, TO_A, TO_B, DISCHARGED],
        {"M1": ("active", hour(20)), "M2": ("active", hour(60))},
    ),
    "a movement after the discharge is not ended by it": (
        [ADMITTED, DISCHARGED, stay("t3", "transferred", 61, movement_id="M3", movement_type="discharge")],
        {"M3": ("active", None)},
    ),
    "a cancelled movement stays, with that status, and ends nothing": (
        [TO_A, TO_B, stay("c", "cancelled_transfer", 21), DISCHARGED],
        {"M1": ("active", hour(60)), "M2": ("cancelled", None)},
    ),
    "a corrected time lays the movements out anew": (
        [TO_A, TO_B, stay("t3", "transferred", 9, 30, movement_id="M2", ward="B")],
        {"M1": ("active", None), "M2": ("active", hour(10))},
    ),
    "a movement said again after its cancellation is active": (
        [TO_A, stay("c", "cancelled_transfer", 11), stay("t3", "transferred", 10, 12, movement_id="M1", ward="A")],
        {"M1": ("active", None)},
    ),
    "a cancelled discharge ends nothing": (
        [ADMITTED, TO_A, DISCHARGED, stay("c", "cancelled_discharge", 61)],
        {"M1": ("active", None)},
    ),
}


@pytest.mark.parametrize("example", MOVEMENTS)
def test_movements(bench, example):
    facts, wanted = MOVEMENTS[example]
    query = "SELECT movement_id, status, next_moved_at FROM core.movements"
    bench.commit(*facts)
    assert {row[0]: row[1:] for row in bench.rows(query)} == wanted
    bench.empty()
    for fact in reversed(facts):
        bench.commit(fact)
    assert {row[0]: row[1:] for row in bench.rows(query)} == wanted


def test_what_was_known_before_can_still_be_asked(bench):
    late_correction = stay("a2", "admitted", 7, 100, service="SURG")
    bench.commit(ADMITTED, DISCHARGED, late_correction, stay("c", "cancelled_discharge", 60, 120))

    def known(at: float) -> dict[str, Any]:
        (row,) = bench.folded("encounters", hour(at).isoformat())
        return {name: row[name] for name in ("status", "admitted_at", "service")}

    assert bench.folded("encounters", hour(7).isoformat()) == []
    assert known(8) == {"status": "open", "admitted_at": hour(8), "service": "MED"}
    assert known(60) == {"status": "discharged", "admitted_at": hour(8), "service": "MED"}
    assert known(100) == {"status": "discharged", "admitted_at": hour(7), "service": "SURG"}
    assert known(120) == {"status": "open", "admitted_at": hour(7), "service": "SURG"}


def test_an_open_stay_has_no_length(bench):
    bench.commit(ADMITTED)
    assert bench.row("mart.admissions")["length_of_stay_days"] is None
    bench.commit(DISCHARGED)
    assert bench.row("mart.admissions")["length_of_stay_days"] == Decimal("2.1667")


def test_a_stay_that_ends_before_it_begins_has_no_length(bench):
    """It is still shown, with the times as sent."""
    bench.commit(stay("a", "admitted", 60), stay("d", "discharged", 8))
    row = bench.row("mart.admissions")
    assert (row["admitted_at"], row["discharged_at"]) == (hour(60), hour(8))
    assert row["length_of_stay_days"] is None
