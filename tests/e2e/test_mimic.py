"""MIMIC-III, replayed: every row of the CSV files is in the marts, field by field; again and shuffled, the same digest.

The expected rows are read from the CSV files here, independently of the source's own reader.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.e2e.hospital import Hospital, mimic_folder

FOLDER = mimic_folder()
pytestmark = pytest.mark.skipif(FOLDER is None, reason="no MIMIC-III demo here; WARDSTREAM_MIMIC_DIR names its folder")
ZONE = ZoneInfo("America/New_York")
Rows = list[dict[str, str]]


def read(table: str) -> Rows:
    assert FOLDER is not None
    with gzip.open(Path(FOLDER) / f"{table}.csv.gz", "rt", newline="") as text:
        return list(csv.DictReader(text))


def utc(clock: str) -> datetime | None:
    return datetime.fromisoformat(clock).replace(tzinfo=ZONE).astimezone(UTC) if clock else None


def day(clock: str) -> date | None:
    return datetime.fromisoformat(clock).date() if clock else None


def text(value: str) -> str | None:
    return value or None


def days_between(start: datetime, end: datetime) -> Decimal:
    return (Decimal((end - start) // timedelta(seconds=1)) / 86400).quantize(Decimal("0.0001"), ROUND_HALF_UP)


def number(value: str) -> float | None:
    return float(value) if value not in ("", "NA") else None


@pytest.fixture(scope="module")
def replayed(hospital: Hospital) -> Iterator[Hospital]:
    hospital.empty()
    hospital.must("replay", "mimic-iii", str(FOLDER))
    hospital.verified()
    yield hospital


def expect(found: list[tuple[Any, ...]], expected: list[tuple[Any, ...]]) -> None:
    """All rows equal, in any order; the first differences are shown when not."""
    missing, extra = set(expected) - set(found), set(found) - set(expected)
    assert not missing and not extra, (sorted(map(str, missing))[:3], sorted(map(str, extra))[:3])
    assert len(found) == len(expected)


def test_patients(replayed: Hospital) -> None:
    found = replayed.rows(
        "SELECT patient_id, gender, birth_date, death_date, death_date_hospital, death_date_registry, deceased"
        " FROM mart.patients"
    )
    expected = [
        (
            r["subject_id"],
            r["gender"],
            *(day(r[c]) for c in ("dob", "dod", "dod_hosp", "dod_ssn")),
            r["expire_flag"] == "1",
        )
        for r in read("PATIENTS")
    ]
    assert len(expected) == 100
    expect(found, expected)


def test_admissions(replayed: Hospital) -> None:
    found = replayed.rows(
        "SELECT encounter_id, patient_id, status, admitted_at, discharged_at, length_of_stay_days, death_time,"
        " died_in_hospital, discharge_disposition, admission_type, admission_source, service, service_since, insurance,"
        " language, religion, marital_status, ethnicity, admitting_diagnosis, ed_arrival_time, ed_departure_time,"
        " ward_now FROM mart.admissions"
    )
    last_service = {
        r["hadm_id"]: r for r in sorted(read("SERVICES"), key=lambda r: (r["transfertime"], int(r["row_id"])))
    }
    expected = []
    for r in read("ADMISSIONS"):
        admitted, discharged = utc(r["admittime"]), utc(r["dischtime"])
        assert admitted is not None and discharged is not None
        service = last_service[r["hadm_id"]]
        expected.append(
            (
                *(r["hadm_id"], r["subject_id"], "discharged", admitted, discharged),
                days_between(admitted, discharged),
                *(utc(r["deathtime"]), r["hospital_expire_flag"] == "1", text(r["discharge_location"])),
                *(text(r["admission_type"]), text(r["admission_location"])),
                *(service["curr_service"], utc(service["transfertime"])),
                *(
                    text(r[c])
                    for c in ("insurance", "language", "religion", "marital_status", "ethnicity", "diagnosis")
                ),
                *(utc(r["edregtime"]), utc(r["edouttime"]), None),
            )
        )
    assert len(expected) == 129
    expect(found, expected)


def test_services(replayed: Hospital) -> None:
    """Each row of SERVICES is a fact of its stay: the first with the admission, the later ones as updates."""
    found = replayed.rows(
        "SELECT encounter_id, previous_service, service, service_since FROM history.admissions"
        " WHERE kind IN ('admitted', 'updated')"
    )
    expected = [
        (r["hadm_id"], text(r["prev_service"]), r["curr_service"], utc(r["transfertime"])) for r in read("SERVICES")
    ]
    assert len(expected) == 163
    expect(found, expected)


def test_movements(replayed: Hospital) -> None:
    found = replayed.rows(
        "SELECT movement_id, encounter_id, patient_id, status, icu_stay_id, source_system, movement_type,"
        " previous_care_unit, care_unit, previous_ward, ward, moved_at, ward_until, ward_hours FROM core.movements"
    )
    columns = ("icustay_id", "dbsource", "eventtype", "prev_careunit", "curr_careunit", "prev_wardid", "curr_wardid")
    expected = [
        (
            *(r["row_id"], r["hadm_id"], r["subject_id"], "active", *(text(r[c]) for c in columns)),
            *(utc(r["intime"]), utc(r["outtime"]), number(r["los"])),
        )
        for r in read("TRANSFERS")
    ]
    assert len(expected) == 524
    expect(found, expected)


def test_diagnoses(replayed: Hospital) -> None:
    found = replayed.rows(
        "SELECT diagnosis_id, patient_id, encounter_id, status, coded_at, sequence, code, code_system,"
        " short_title, title FROM mart.diagnoses"
    )
    titles = {r["icd9_code"]: r for r in read("D_ICD_DIAGNOSES")}
    discharges = {r["hadm_id"]: utc(r["dischtime"]) for r in read("ADMISSIONS")}
    expected = []
    for r in read("DIAGNOSES_ICD"):
        title = titles.get(r["icd9_code"], {"short_title": "", "long_title": ""})
        expected.append(
            (
                *(r["row_id"], r["subject_id"], r["hadm_id"], "final", discharges[r["hadm_id"]]),
                *(int(r["seq_num"]) if r["seq_num"] else None, text(r["icd9_code"]), "ICD-9-CM"),
                *(text(title["short_title"]), text(title["long_title"])),
            )
        )
    assert len(expected) == 1761
    expect(found, expected)


def test_labs(replayed: Hospital) -> None:
    found = replayed.rows(
        "SELECT lab_result_id, patient_id, encounter_id, status, observed_at, collected_at, test_code, test_name,"
        " specimen, category, loinc_code, value_text, value_number, unit, flag FROM mart.labs"
    )
    items = {r["itemid"]: r for r in read("D_LABITEMS")}
    expected = []
    for r in read("LABEVENTS"):
        item, at = items[r["itemid"]], utc(r["charttime"])
        null = {c: None if r[c] in ("", "NA") else r[c] for c in r}
        expected.append(
            (
                *(r["row_id"], r["subject_id"], null["hadm_id"], "final", at, at, r["itemid"], text(item["label"])),
                *(text(item["fluid"]), text(item["category"]), text(item["loinc_code"])),
                *(null["value"], number(r["valuenum"]), null["valueuom"], null["flag"]),
            )
        )
    assert len(expected) == 53033
    expect(found, expected)


def test_again(replayed: Hospital) -> None:
    """A second replay adds duplicates and nothing else."""
    digest = replayed.digest()
    (events,) = replayed.rows("SELECT sum(received)::bigint FROM ops.ledger_ranges")[0]
    replayed.must("replay", "mimic-iii", str(FOLDER))
    tallies = replayed.verified().tallies
    assert sum(t.duplicate for t in tallies) == events
    assert sum(t.stored for t in tallies) == events
    assert replayed.digest() == digest


@pytest.mark.campaign
def test_shuffled(replayed: Hospital) -> None:
    """Another order into an empty database ends the same."""
    digest = replayed.digest()
    (events,) = replayed.rows("SELECT sum(stored)::bigint FROM ops.ledger_ranges")[0]
    replayed.empty()
    replayed.must("replay", "mimic-iii", str(FOLDER), "--shuffle", "20261122")
    tallies = replayed.verified().tallies
    assert (sum(t.stored for t in tallies), sum(t.duplicate for t in tallies)) == (events, 0)
    assert replayed.digest() == digest
