"""Which days are built again after what, and that no other row of the marts or of ops.day_builds is touched."""

from datetime import date, timedelta

import pytest

from tests.integration.commit.facts import lab, stay
from tests.integration.daily.clinic import Before, Clinic
from wardstream.daily.build import run
from wardstream.daily.stale import count_stale

MARCH = [date(2026, 3, 1) + timedelta(days=n) for n in range(14)]  # hour 0 of facts is the 1st at 19:00 in New York
NONE: dict[str, list[date]] = {"daily_admissions": [], "daily_diagnoses": [], "daily_labs": []}


def a_week(clinic: Clinic) -> None:
    """Two stays, results on four days, all built."""
    clinic.today = date(2026, 3, 20)
    clinic.commit(
        stay("a1", "admitted", 10, service="MED"),
        stay("d1", "discharged", 60),
        stay("a2", "admitted", 30, encounter_id="E2", patient_id="P2", service="SURG"),
        stay("t2", "transferred", 50, encounter_id="E2", patient_id="P2", movement_id="M", movement_type="transfer"),
        stay("d2", "discharged", 80, encounter_id="E2", patient_id="P2"),
        *(lab(f"l{n}", "resulted", 10 + 24 * n, lab_result_id=f"L{n}", test_code="NA") for n in range(4)),
        (
            "diagnoses",
            {**stay("x", "recorded", 60)[1], "diagnosis_id": "D1", "code": "I10", "code_system": "ICD-10-CM"},
        ),
    )
    clinic.build()
    assert [clinic.stale(table) for table in NONE] == [[], [], []]


def test_a_second_build_builds_nothing(clinic):
    a_week(clinic)
    before = Before(clinic)
    clinic.build()
    assert before.rebuilt() == NONE


def test_spark_is_not_started_when_nothing_is_stale(clinic):
    a_week(clinic)

    def never(_settings):
        raise AssertionError("Spark was started")

    assert run(clinic.settings, clinic.range(), never) == 0


def test_a_late_result_rebuilds_its_day_and_no_other(clinic):
    a_week(clinic)
    before = Before(clinic)
    clinic.commit(lab("late", "resulted", 35, 200, lab_result_id="L9", test_code="K"))
    assert clinic.stale("daily_labs") == [MARCH[2]]
    clinic.build()
    assert before.rebuilt() == {**NONE, "daily_labs": [MARCH[2]]}
    assert [r["test_code"] for r in clinic.rows("daily_labs", "day = '2026-03-03'")] == ["K", "NA"]


def test_a_cancelled_admission_rebuilds_the_days_of_its_stay(clinic):
    a_week(clinic)
    before = Before(clinic)
    clinic.commit(stay("c", "cancelled_admit", 70))
    clinic.build()
    assert before.rebuilt() == {**NONE, "daily_admissions": MARCH[1:4]}
    assert {r["service"] for r in clinic.rows("daily_admissions")} == {"SURG"}


@pytest.mark.parametrize(
    ("at", "days"),
    [
        (53.5, [MARCH[1], MARCH[3]]),  # still the 3rd? hour 53 is the 4th 00:00 in New York: no other day is touched
        (52.5, MARCH[1:4]),  # back over midnight, to the 3rd 23:30
        (78, [MARCH[1], *MARCH[3:5]]),  # forward, to the 5th
    ],
)
def test_a_discharge_corrected_over_midnight_rebuilds_the_days_whose_numbers_change(clinic, at, days):
    a_week(clinic)
    before = Before(clinic)
    clinic.commit(stay("d9", "discharged", at, 90))
    clinic.build()
    assert before.rebuilt() == {**NONE, "daily_admissions": days}


def test_an_emptied_day_disappears_and_is_not_stale_again(clinic):
    a_week(clinic)
    clinic.commit(lab("c0", "cancelled", 10, 99, lab_result_id="L0"))
    clinic.build()
    assert clinic.days("daily_labs") == MARCH[2:5]
    assert ("daily_labs", MARCH[1]) in clinic.builds()
    assert clinic.stale("daily_labs") == []


def test_a_result_moved_to_another_day_rebuilds_both(clinic):
    a_week(clinic)
    before = Before(clinic)
    clinic.commit(lab("m", "corrected", 110, 111, lab_result_id="L0", test_code="NA"))
    clinic.build()
    assert before.rebuilt()["daily_labs"] == [MARCH[1], MARCH[5]]
    assert clinic.days("daily_labs") == MARCH[2:6]


def test_a_range_builds_its_days_and_leaves_the_others_stale(clinic):
    a_week(clinic)
    clinic.commit(*(lab(f"k{n}", "resulted", 10 + 24 * n, lab_result_id=f"K{n}", test_code="K") for n in range(4)))
    clinic.build(first=MARCH[2], last=MARCH[3])
    assert clinic.stale("daily_labs") == [MARCH[1], MARCH[4]]
    counted = count_stale(clinic.settings)
    assert counted["daily_labs"] == 2 and counted["daily_diagnoses"] == 0
    assert count_stale(clinic.settings, last=MARCH[3])["daily_labs"] == 1


def test_all_days_of_a_range_are_built_stale_or_not(clinic):
    a_week(clinic)
    digest, before = clinic.bench.digest(), Before(clinic)
    clinic.build(first=MARCH[0], last=MARCH[2], all_days=True)
    assert before.rebuilt() == dict.fromkeys(NONE, MARCH[:3])
    assert clinic.bench.digest() == digest
    assert [clinic.stale(table) for table in NONE] == [[], [], []]


def census(clinic: Clinic) -> list[tuple[date, int | None]]:
    return [(r["day"], r["midnight_census"]) for r in clinic.rows("daily_admissions")]


def test_an_open_stay_gets_a_day_each_day(clinic):
    clinic.today = MARCH[2]
    clinic.commit(stay("a", "admitted", 10))
    clinic.build()
    assert census(clinic) == [(MARCH[1], 1)]  # today's 24:00 has not been, and nothing happened today
    clinic.today = MARCH[5]
    assert clinic.stale("daily_admissions") == MARCH[2:6]
    assert clinic.stale("daily_labs") == []
    clinic.build()
    assert census(clinic) == [(day, 1) for day in MARCH[1:5]]
    before = Before(clinic)
    clinic.build()
    assert before.rebuilt() == NONE  # the same day: nothing to do
    clinic.commit(stay("d", "discharged", 60))
    clinic.build()
    assert before.rebuilt()["daily_admissions"] == [MARCH[1], *MARCH[3:6]]
    assert census(clinic) == [(MARCH[1], 1), (MARCH[2], 1), (MARCH[3], 0)]


def test_todays_census_is_not_known_before_midnight(clinic):
    clinic.today = MARCH[1]
    clinic.commit(stay("a", "admitted", 10), stay("a2", "admitted", 11, encounter_id="E2"), stay("d", "discharged", 20))
    clinic.build()
    assert census(clinic) == [(MARCH[1], None)]
    clinic.today = MARCH[2]
    clinic.build()
    assert census(clinic) == [(MARCH[1], 1)]


def test_a_day_of_the_future_is_built_again_when_it_comes_and_when_it_is_over(clinic):
    """A discharge may be planned; MIMIC's dates lie centuries ahead."""
    clinic.today = MARCH[0]
    clinic.commit(stay("a", "admitted", 10), stay("d", "discharged", 60))
    clinic.build()
    assert census(clinic) == [(MARCH[1], 1), (MARCH[2], 1), (MARCH[3], 0)]
    assert clinic.stale("daily_admissions") == []
    clinic.today = MARCH[2]
    assert clinic.stale("daily_admissions") == [MARCH[1], MARCH[2]]
    clinic.build()
    assert census(clinic) == [(MARCH[1], 1), (MARCH[3], 0)]  # of the 3rd nothing happened but the night to come
    clinic.today = MARCH[6]
    assert clinic.stale("daily_admissions") == [MARCH[2], MARCH[3]]
    clinic.build()
    assert census(clinic) == [(MARCH[1], 1), (MARCH[2], 1), (MARCH[3], 0)]


def test_a_planned_movement_of_an_open_stay_counts_once_its_day_has_come(clinic):
    clinic.today = MARCH[1]
    planned = {"movement_id": "M", "movement_type": "transfer"}
    clinic.commit(stay("a", "admitted", 10, service="MED"), stay("t", "transferred", 60, 11, **planned))
    clinic.build()
    assert clinic.days("daily_admissions") == [MARCH[1]]
    clinic.commit(stay("u", "updated", 12, service="SURG"))
    clinic.build()
    clinic.today = MARCH[3]
    clinic.build()
    moved = clinic.rows("daily_admissions", "transfers > 0")
    assert [(r["day"], r["service"], r["transfers"]) for r in moved] == [(MARCH[3], "SURG", 1)]


def test_the_days_between_an_admission_and_a_discharge_without_a_build_are_built(clinic):
    """Nothing marked them while they passed, and the discharge says nothing new of them."""
    clinic.today = MARCH[1]
    clinic.commit(stay("a", "admitted", 10))
    clinic.build()
    clinic.today = MARCH[6]
    clinic.commit(stay("d", "discharged", 110))
    clinic.build()
    assert census(clinic) == [*((day, 1) for day in MARCH[1:5]), (MARCH[5], 0)]
