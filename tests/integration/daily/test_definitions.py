"""What each number means, by example."""

from typing import Any

import pytest

from tests.integration.commit.facts import Fact, hour, lab, stay
from tests.integration.daily.test_which_days import MARCH
from wardstream.daily.zone import apply_facilities


def other(number: int, kind: str, at: float, **more: Any) -> Fact:
    """A fact of stay number N, of another patient."""
    key = f"{number}-{kind}-{at}"
    return stay(key, kind, at, encounter_id=f"S{number}", patient_id=f"Q{number}", **more)


def test_length_of_stay(clinic):
    """Days from admission day to discharge day; four stays that end on one day, and one sent backwards."""
    clinic.commit(
        *(other(1, "admitted", 58), other(1, "discharged", 70)),  # the 4th, on the day itself
        *(other(2, "admitted", 52.5), other(2, "discharged", 54)),  # an hour and a half, over midnight
        *(other(3, "admitted", 10), other(3, "discharged", 70, died_in_hospital=True)),
        *(other(4, "admitted", -200), other(4, "discharged", 71)),
        *(other(5, "admitted", 90), other(5, "discharged", 60)),
    )
    clinic.build("daily_admissions")
    (row,) = clinic.rows("daily_admissions", "discharges > 0")
    assert (row["day"], row["discharges"], row["deaths"], row["los_stays"]) == (MARCH[3], 5, 1, 4)
    lengths = [0, 1, 2, 11]
    assert row["los_days_sum"] == sum(lengths) and row["alos_days"] == sum(lengths) / 4
    assert row["los_median_days"] == 1.5 and row["los_p90_days"] == pytest.approx(2 + 0.7 * 9)


def test_a_same_day_stay_counts_what_the_facility_says(clinic):
    clinic.commit(other(1, "admitted", 10), other(1, "discharged", 20))
    clinic.build("daily_admissions")
    assert [r["los_days_sum"] for r in clinic.rows("daily_admissions")] == [0]
    assert apply_facilities(clinic.settings.model_copy(update={"same_day_stay_days": 1}))
    clinic.build("daily_admissions")
    assert [(r["los_days_sum"], r["alos_days"]) for r in clinic.rows("daily_admissions")] == [(1, 1.0)]


def test_stays_that_are_hidden_do_not_count(clinic):
    clinic.commit(
        *(other(1, "admitted", 10), other(1, "discharged", 60), other(1, "cancelled_admit", 61)),
        other(2, "discharged", 60),
        other(3, "transferred", 20, movement_id="M", movement_type="transfer"),
    )
    clinic.build()
    assert clinic.rows("daily_admissions") == []


def test_transfers_are_movements_of_that_type_within_a_shown_stay(clinic):
    moves = {"cancelled": 20, "admit": 11, "discharge": 59, "early": 9, "late": 61, "first": 10, "last": 60, "in": 30}
    types = {"admit": "admit", "discharge": "discharge"}
    clinic.commit(
        *(other(1, "admitted", 10, service="MED", admission_type="URGENT"), other(1, "discharged", 60)),
        *(
            other(1, "transferred", at, movement_id=name, movement_type=types.get(name, "transfer"))
            for name, at in moves.items()
        ),
        other(1, "cancelled_transfer", 62, cancels_event_id="1-transferred-20"),
        other(1, "transferred", 31, movement_id="no type"),
    )
    clinic.build()
    found = [(r["day"], r["service"], r["admission_type"], r["transfers"]) for r in clinic.rows("daily_admissions")]
    assert found == [(day, "MED", "URGENT", 1) for day in MARCH[1:4]]


def test_a_stay_counts_under_its_present_service(clinic):
    clinic.commit(other(1, "admitted", 10, service="MED"), other(1, "discharged", 40))
    clinic.build()
    clinic.commit(other(1, "updated", 30, service="SURG", admission_type="ELECTIVE"))
    clinic.build()
    assert {(r["day"], r["service"], r["admission_type"]) for r in clinic.rows("daily_admissions")} == {
        (day, "SURG", "ELECTIVE") for day in MARCH[1:3]
    }


CHAPTERS = {
    ("ICD-9-CM", "0010"): "1",
    ("ICD-9-CM", "1398"): "1",
    ("ICD-9-CM", "140"): "2",
    ("ICD-9-CM", "99999"): "17",
    ("ICD-9-CM", "V3000"): "V",
    ("ICD-9-CM", "E8120"): "E",
    ("icd-9-cm", "e8120"): "E",
    ("ICD-9-CM", "1"): "(unknown)",
    ("ICD-9-CM", "1AB"): "(unknown)",
    ("ICD-9-CM", "I10"): "(unknown)",
    ("ICD-10-CM", "A000"): "1",
    ("ICD-10-CM", "C7A00"): "2",
    ("ICD-10-CM", "D3A00"): "2",
    ("ICD-10-CM", "D49"): "2",
    ("ICD-10-CM", "D500"): "3",
    ("ICD-10-CM", "H5900"): "7",
    ("ICD-10-CM", "H600"): "8",
    ("ICD-10-CM", "I10"): "9",
    ("ICD-10-CM", "O9A1"): "15",
    ("ICD-10-CM", "T889"): "19",
    ("ICD-10-CM", "V3000"): "20",
    ("ICD-10-CM", "Z3A00"): "21",
    ("ICD-10-CM", "U071"): "22",
    ("ICD-10-CM", "E90"): "(unknown)",
    ("ICD-10-CM", "4019"): "(unknown)",
    ("ICD-10-GM", "I10"): "(unknown)",
    ("ICD-10-CM", None): "(unknown)",
    (None, "I10"): "(unknown)",
}


def coded(number: int, at: float = 10, **more: Any) -> Fact:
    """A diagnosis."""
    return "diagnoses", {**stay(f"x{number}", "recorded", at)[1], "diagnosis_id": f"D{number}", **more}


def test_chapters(clinic):
    clinic.commit(*(coded(n, code=code, code_system=system) for n, (system, code) in enumerate(CHAPTERS)))
    clinic.build("daily_diagnoses")
    found = {(r["code_system"], r["code"]): r["chapter"] for r in clinic.rows("daily_diagnoses")}
    assert found == {(s or "(unknown)", c or "(unknown)"): chapter for (s, c), chapter in CHAPTERS.items()}
    titles = {r["chapter"]: r["chapter_title"] for r in clinic.rows("daily_diagnoses")}
    assert titles["22"] == "For special purposes" and titles["(unknown)"] == "(unknown)"


def test_diagnoses(clinic):
    i10: dict[str, Any] = {"code": "I10", "code_system": "ICD-10-CM"}
    clinic.commit(
        coded(1, **i10, sequence=1, title="one"),
        coded(2, **i10, sequence=2, title="two", short_title="s"),
        coded(3, **i10, sequence=1, patient_id="P2", encounter_id="E2"),
        coded(4, **i10, kind="cancelled"),
        coded(5, 40, **i10),
    )
    clinic.build("daily_diagnoses")
    rows = clinic.rows("daily_diagnoses")
    names = ("diagnoses", "primary_diagnoses", "patients", "encounters", "short_title", "title")
    assert [tuple(row[name] for name in names) for row in rows] == [(3, 2, 2, 2, "s", "two"), (1, 0, 1, 1, None, None)]


def result(number: int, kind: str = "resulted", **more: Any) -> Fact:
    """A laboratory result at noon of the 2nd."""
    return lab(f"r{number}", kind, 16, lab_result_id=f"R{number}", **{"test_code": "NA", "unit": "mmol/L", **more})


def test_labs(clinic):
    flags = ["abnormal", "delta", "H", "ll", "N", None, "<"]
    clinic.commit(
        *(result(n, value_number=float(n), flag=flag, loinc_code="2951-2") for n, flag in enumerate(flags, 1)),
        result(20, value_text="hemolysed", test_name="Sodium"),
        result(21, "cancelled", value_number=900.0),
        result(22, unit=None, value_number=5.0),
        result(23, unit="mg/dL", value_number=7.0),
        result(24, test_code=None, unit=None),
    )
    clinic.build("daily_labs")
    rows = {(r["test_code"], r["unit"]): r for r in clinic.rows("daily_labs")}
    assert set(rows) == {("NA", "mmol/L"), ("NA", "(none)"), ("NA", "mg/dL"), ("(unknown)", "(none)")}
    row = rows["NA", "mmol/L"]
    assert (row["results"], row["numeric_results"], row["abnormal"]) == (8, 7, 4)
    assert row["abnormal_share"] == 0.5 and (row["test_name"], row["loinc_code"]) == ("Sodium", "2951-2")
    assert row["median_value"] == 4.0 and row["p90_value"] == pytest.approx(6.4)
    assert rows["(unknown)", "(none)"]["median_value"] is None


def test_turnaround(clinic):
    clinic.commit(
        result(1, ordered_at=hour(10), collected_at=hour(10.5), reported_at=hour(11)),
        result(2, ordered_at=hour(10), collected_at=hour(10.5), reported_at=hour(11.5)),
        result(3, ordered_at=hour(10), reported_at=hour(13)),
        result(4, ordered_at=hour(10)),
        result(5, ordered_at=hour(14), reported_at=hour(13)),
    )
    clinic.build("daily_labs")
    (row,) = clinic.rows("daily_labs")
    assert (row["order_to_report_results"], row["order_to_report_median_minutes"]) == (3, 90.0)
    assert row["order_to_report_p90_minutes"] == pytest.approx(90 + 0.8 * 90)
    assert row["order_to_report_within_60"] == 1 / 3
    assert (row["collect_to_report_results"], row["collect_to_report_median_minutes"]) == (2, 45.0)
    assert row["collect_to_report_within_60"] == 1.0


def test_minus_zero_is_zero(clinic):
    clinic.commit(result(1, value_number=-0.0))
    clinic.build("daily_labs")
    assert clinic.bench.rows("SELECT median_value::text, p90_value::text FROM mart.daily_labs") == [("0", "0")]
