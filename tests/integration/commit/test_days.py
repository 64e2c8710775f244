"""Which days a commit marks as changed: the facility's days of the rows of core that changed, before and after."""

from datetime import UTC, date, datetime, timedelta

import pytest

from tests.integration.commit.bench import ZONE, Bench
from tests.integration.commit.facts import lab, stay

MARCH = [date(2026, 3, day) for day in range(1, 8)]  # in New York, hour 0 is still the 1st at 19:00


def marked(bench: Bench, table: str) -> dict[date, int]:
    return dict(bench.rows("SELECT day, version FROM ops.day_versions WHERE core_table = %s ORDER BY day", table))


def raised(bench: Bench, table: str, *facts) -> list[date]:
    """The days that a commit of these facts marks anew."""
    before = marked(bench, table)
    bench.commit(*facts)
    return [day for day, version in marked(bench, table).items() if before.get(day) != version]


def test_a_result_marks_its_day_in_the_facilitys_zone(bench):
    assert raised(bench, "lab_results", lab("a", "resulted", 0)) == [date(2026, 3, 1)]
    assert raised(bench, "lab_results", lab("b", "resulted", 10, lab_result_id="L2")) == [date(2026, 3, 2)]


def test_versions_are_commit_numbers_and_grow(bench):
    bench.commit(lab("a", "resulted", 10))
    first = marked(bench, "lab_results")
    bench.commit(lab("b", "resulted", 10, lab_result_id="L2"))
    (seq,) = bench.rows("SELECT max(commit_seq) FROM ops.ledger_ranges")[0]
    assert marked(bench, "lab_results") == {MARCH[1]: seq} and seq > first[MARCH[1]]


def test_a_correction_that_moves_a_result_marks_the_day_before_and_the_day_after(bench):
    bench.commit(lab("a", "resulted", 10))
    assert raised(bench, "lab_results", lab("b", "corrected", 60, 61)) == [MARCH[1], MARCH[3]]


def test_a_cancelled_result_marks_its_day(bench):
    bench.commit(lab("a", "resulted", 10))
    assert raised(bench, "lab_results", lab("b", "cancelled", 10, 11)) == [MARCH[1]]


NOTHING_CHANGES = {
    "a duplicate": lab("b", "corrected", 10, 20, value_number=0.0),
    "a version that is older": lab("a", "resulted", 90, 5),
    "a version that says the same": lab("c", "corrected", 10, 30, value_number=0.0),
}


@pytest.mark.parametrize("what", NOTHING_CHANGES)
def test_what_changes_no_row_of_core_marks_no_day(bench, what):
    bench.commit(lab("b", "corrected", 10, 20, value_number=0.0))
    assert raised(bench, "lab_results", NOTHING_CHANGES[what]) == []


def test_minus_zero_is_another_value(bench):
    bench.commit(lab("a", "corrected", 10, 20, value_number=0.0))
    assert raised(bench, "lab_results", lab("b", "corrected", 10, 30, value_number=-0.0)) == [MARCH[1]]
    assert bench.rows("SELECT value_number::text FROM core.lab_results") == [("-0",)]


def test_a_stay_marks_each_day_from_admission_to_discharge(bench):
    found = raised(bench, "encounters", stay("a", "admitted", 10), stay("d", "discharged", 60))
    assert found == MARCH[1:4]


def test_a_discharge_without_an_admission_marks_its_day(bench):
    assert raised(bench, "encounters", stay("d", "discharged", 60)) == [MARCH[3]]


def test_a_stay_that_is_shortened_marks_its_old_days_too(bench):
    bench.commit(stay("a", "admitted", 10), stay("d", "discharged", 100))
    assert raised(bench, "encounters", stay("d2", "discharged", 40, 101)) == MARCH[1:5]  # the 2nd is an end


def test_a_discharge_or_its_correction_marks_the_ends_and_the_days_that_come_or_go(bench):
    bench.commit(stay("a", "admitted", 10), stay("d", "discharged", 100))  # the 2nd to the 5th
    assert raised(bench, "encounters", stay("d2", "discharged", 130, 131)) == [MARCH[1], *MARCH[4:7]]
    died = stay("d3", "discharged", 130, 132, died_in_hospital=True)
    assert raised(bench, "encounters", died) == [MARCH[1], MARCH[6]]


def test_what_counts_on_each_day_of_a_stay_marks_each_day(bench):
    bench.commit(stay("a", "admitted", 10), stay("d", "discharged", 100))
    assert raised(bench, "encounters", stay("u", "updated", 101, service="SURG")) == MARCH[1:5]


def test_days_that_an_open_stay_has_lived_through_unmarked_are_marked_at_its_discharge(bench):
    bench.commit(stay("a", "admitted", 10), stay("d", "discharged", 100))
    bench.admin.execute("DELETE FROM ops.day_versions WHERE day = %s", [MARCH[2]])
    died = stay("d3", "discharged", 100, 132, died_in_hospital=True)
    assert raised(bench, "encounters", died) == [MARCH[1], MARCH[2], MARCH[4]]


def test_a_stay_that_vanishes_marks_all_its_days(bench):
    bench.commit(stay("a", "admitted", 10), stay("d", "discharged", 60))
    cancelled = [stay("c", "cancelled_admit", 61), stay("c2", "cancelled_discharge", 61)]
    assert raised(bench, "encounters", *cancelled) == MARCH[1:4]
    assert bench.row("core.encounters") is None


def test_an_open_stay_marks_its_days_up_to_today(bench):
    begun = datetime.now(UTC) - timedelta(days=3)

    def today() -> date:
        found: date = bench.rows("SELECT (now() AT TIME ZONE %s)::date", ZONE)[0][0]
        return found

    before = today()
    days = raised(bench, "encounters", stay("a", "admitted", 0, event_time=begun))
    assert days[-1] in (before, today())  # midnight may fall between
    assert days == [days[0] + timedelta(days=n) for n in range(len(days))] and len(days) in (4, 5)


def test_a_movement_marks_the_day_it_begins_and_its_neighbours_when_they_change(bench):
    bench.commit(stay("t1", "transferred", 10, movement_id="M1"))
    later = stay("t2", "transferred", 40, movement_id="M2")
    assert raised(bench, "movements", later) == [MARCH[1], MARCH[2]]  # M1 ends now where M2 begins
