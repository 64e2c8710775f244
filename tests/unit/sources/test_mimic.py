"""MIMIC-III as events: each fact at its time, on files made up here; and the counts of the real demo where it is."""

import csv
import gzip
import io
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.unit.sources import mimic_files
from wardstream.contracts.codec import Decoder, Encoder, split
from wardstream.contracts.model import load_contracts
from wardstream.contracts.validate import Validator
from wardstream.settings import PROJECT_ROOT
from wardstream.sources.mimic.events import event_id, events
from wardstream.sources.mimic.tables import LEFT_OUT, MAPPED, MimicError, columns_of

ZONE = ZoneInfo("America/New_York")
CONTRACTS = load_contracts(PROJECT_ROOT / "schemas")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def replay(folder: Path, tables: dict[str, list[str]] | None = None) -> list[tuple[str, dict[str, Any]]]:
    return list(events(mimic_files.write(folder, tables), ZONE))


def with_lines(table: str, *lines: str) -> dict[str, list[str]]:
    """The made-up tables with other rows in one of them."""
    return {**mimic_files.TABLES, table: [mimic_files.TABLES[table][0], *lines]}


def of_kind(found: list[tuple[str, dict[str, Any]]], kind: str, stay: str | None = None) -> list[dict[str, Any]]:
    return [e for _, e in found if e["kind"] == kind and (stay is None or e.get("encounter_id") == stay)]


def test_the_stay_in_order(tmp_path: Path):
    found = replay(tmp_path)
    assert [(t, e["kind"], e["event_time"]) for t, e in found] == [
        ("patients", "registered", utc("2149-06-01 13:00:00")),
        ("admissions", "admitted", utc("2149-06-01 13:00:00")),
        ("admissions", "discharged", utc("2149-06-02 14:00:00")),
        ("diagnoses", "recorded", utc("2149-06-02 14:00:00")),
        ("labs", "resulted", utc("2150-01-09 14:00:00")),
        ("labs", "resulted", utc("2150-01-09 14:00:00")),
        ("admissions", "admitted", utc("2150-01-10 13:00:00")),
        ("admissions", "transferred", utc("2150-01-10 13:05:00")),
        ("labs", "resulted", utc("2150-01-10 14:00:00")),
        ("admissions", "updated", utc("2150-01-12 13:00:00")),
        ("admissions", "discharged", utc("2150-01-15 17:30:00")),
        ("diagnoses", "recorded", utc("2150-01-15 17:30:00")),
        ("diagnoses", "recorded", utc("2150-01-15 17:30:00")),
        ("admissions", "transferred", utc("2150-01-15 17:31:00")),
        ("admissions", "updated", utc("2150-01-16 13:00:00")),
    ]
    assert all(e["recorded_at"] == e["event_time"] and e["source"] == "mimic-iii" for _, e in found)
    assert {e["patient_id"] for _, e in found} == {"7"}


def test_admitted_updated_discharged(tmp_path: Path):
    found = replay(tmp_path)
    restated = {
        "encounter_id": "100",
        "admission_type": "EMERGENCY",
        "admission_source": "CLINIC",
        "insurance": "Private",
        "language": None,
        "religion": None,
        "marital_status": None,
        "ethnicity": "WHITE",
        "admitting_diagnosis": 'CHEST PAIN; "R/O", MI',
        "ed_arrival_time": None,
        "ed_departure_time": None,
    }
    (admitted,) = of_kind(found, "admitted", "100")
    service = {"service": "MED", "previous_service": None, "service_since": utc("2150-01-10 13:05:00")}
    assert admitted.items() >= {**restated, **service}.items()
    assert "discharge_disposition" not in admitted  # not known yet
    first, second = of_kind(found, "updated", "100")
    surg = {"service": "SURG", "previous_service": "MED", "service_since": utc("2150-01-12 13:00:00")}
    assert first.items() >= {**restated, **surg}.items()
    assert second["service"] == "PSYCH"
    (discharged,) = of_kind(found, "discharged", "100")
    end = {"discharge_disposition": "HOME", "death_time": None, "died_in_hospital": False}
    assert discharged.items() >= {**restated, **surg, **end}.items()  # the service at discharge, not the one after
    (died,) = of_kind(found, "discharged", "101")
    assert (died["death_time"], died["died_in_hospital"]) == (utc("2149-06-02 14:00:00"), True)
    assert died["ed_arrival_time"] == utc("2149-06-01 11:00:00")
    assert "service" not in died  # SERVICES has none


def test_movements(tmp_path: Path):
    first, last = of_kind(replay(tmp_path), "transferred")
    assert (
        first.items()
        >= {
            "movement_id": "31",
            "movement_type": "admit",
            "ward": "52",
            "previous_ward": None,
            "care_unit": "MICU",
            "icu_stay_id": "900",
            "ward_until": utc("2150-01-11 13:05:00"),
            "ward_hours": 24.0,
            "source_system": "carevue",
        }.items()
    )
    assert (
        last.items() >= {"movement_type": "discharge", "ward": None, "previous_ward": "52", "ward_until": None}.items()
    )


def test_diagnoses_patients_labs(tmp_path: Path):
    found = replay(tmp_path)
    by_id = {e["diagnosis_id"]: e for e in of_kind(found, "recorded")}
    assert by_id["41"].items() >= {"code": "4019", "sequence": 1, "title": "Hypertension, unsp."}.items()
    assert (by_id["42"]["code"], by_id["42"]["title"], by_id["42"]["code_system"]) == ("0000", None, "ICD-9-CM")
    assert (by_id["43"]["code"], by_id["43"]["sequence"]) == (None, None)
    (person,) = of_kind(found, "registered")
    assert (person["birth_date"], person["death_date"], person["deceased"]) == (date(1850, 2, 1), None, False)
    labs = {e["lab_result_id"]: e for e in of_kind(found, "resulted")}
    assert (
        labs["51"].items()
        >= {
            **{"test_code": "50893", "test_name": "Calcium", "specimen": "Blood", "category": "Chemistry"},
            **{"loinc_code": "2000-8", "value_text": "10.0", "value_number": 10.0, "unit": "mg/dL", "flag": None},
            **{"encounter_id": "100", "collected_at": utc("2150-01-10 14:00:00")},
        }.items()
    )
    assert labs["52"].items() >= {"encounter_id": None, "value_text": "NA", "value_number": None, "unit": None}.items()
    assert (labs["53"]["value_text"], labs["53"]["test_name"]) == (" <2 ", None)


def dressed(table: list[str], quote: bool, upper: bool) -> list[str]:
    rows = list(csv.reader(table))
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL if quote else csv.QUOTE_MINIMAL, lineterminator="\n")
    writer.writerow([name.upper() if upper else name for name in rows[0]])
    writer.writerows(rows[1:])
    return out.getvalue().splitlines()


@pytest.mark.parametrize("quote, upper, packed", [(True, True, False), (False, True, True), (False, False, True)])
def test_official_files_in_every_dress_give_the_same_events(tmp_path: Path, quote: bool, upper: bool, packed: bool):
    plain, other = tmp_path / "plain", tmp_path / "other"
    plain.mkdir()
    other.mkdir()
    tables = {name: dressed(lines, quote, upper) for name, lines in mimic_files.TABLES.items()}
    mimic_files.write(other, tables, packed=packed)
    assert list(events(other, ZONE)) == replay(plain)


def test_na_is_null_in_the_export_of_labevents_only(tmp_path: Path):
    lines = ['"row_id","subject_id","hadm_id","itemid","charttime","value","valuenum","valueuom","flag"']
    lines += ['51,7,NA,50893,"2150-01-10 09:00:00",NA,NA,"mg/dL",""']
    (lab,) = of_kind(replay(tmp_path, {**mimic_files.TABLES, "LABEVENTS": lines}), "resulted")
    assert (lab["encounter_id"], lab["value_text"], lab["value_number"], lab["flag"]) == (None, None, None, None)


@pytest.mark.parametrize(
    "clock, instant",
    [
        ("2026-03-08 01:59:59", "2026-03-08 06:59:59"),
        ("2026-03-08 02:30:00", "2026-03-08 07:30:00"),  # in the gap: forward, to 03:30 by the clock
        ("2026-03-08 03:30:00", "2026-03-08 07:30:00"),
        ("2026-11-01 01:30:00", "2026-11-01 05:30:00"),  # shown twice: the first
        ("2026-11-01 02:00:00", "2026-11-01 07:00:00"),
    ],
)
def test_clock_times_of_the_facility(tmp_path: Path, clock: str, instant: str):
    tables = with_lines("LABEVENTS", f"1,7,,50893,{clock},1,1,,")
    assert of_kind(replay(tmp_path, tables), "resulted")[0]["event_time"] == utc(instant)


def test_shuffled_is_the_same_events_in_an_order_of_the_seed(tmp_path: Path):
    folder = mimic_files.write(tmp_path)
    plain, one, again, two = (list(events(folder, ZONE, seed)) for seed in (None, 1, 1, 2))
    assert one == again
    assert plain != one != two
    for shuffled in (one, two):
        assert sorted(shuffled, key=lambda fact: fact[1]["event_id"]) == sorted(plain, key=lambda f: f[1]["event_id"])


def test_event_ids_are_of_table_row_kind_and_shift():
    assert event_id("ADMISSIONS", "12258", "admitted") == "8a70141b-3118-5522-99de-7babf4b07943"
    others = [("ADMISSIONS", "1", "admitted"), ("SERVICES", "1", "admitted"), ("ADMISSIONS", "1", "discharged")]
    assert len({*(event_id(*key) for key in others), event_id(*others[0], shift="1")}) == 4


def test_somebody_without_an_admission_is_reported_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    tables = dict(mimic_files.TABLES)
    tables["PATIENTS"] = [*tables["PATIENTS"], "2,8,M,1900-01-01 00:00:00,,,,0"]
    assert len(of_kind(replay(tmp_path, tables), "registered")) == 1
    assert "1 people of PATIENTS have no admission" in caplog.text


SECRET = "Mr-Nobody"
LAB = mimic_files.TABLES["LABEVENTS"][1]
STAY = mimic_files.TABLES["ADMISSIONS"][1]
BROKEN = [
    (
        with_lines("LABEVENTS", LAB, LAB.replace("2150-01-10 09:00:00", SECRET)),
        "LABEVENTS.csv, line 3, column charttime",
    ),
    (with_lines("LABEVENTS", LAB.replace(",10,", f",{SECRET},")), "line 2, column valuenum: is no number"),
    (with_lines("LABEVENTS", LAB.replace(",10,", ",inf,")), "line 2, column valuenum: is no finite number"),
    (with_lines("LABEVENTS", LAB.replace("51,", ",", 1)), "line 2, column row_id: is empty"),
    (with_lines("LABEVENTS", LAB + ",x"), "line 2: 10 columns, the header has 9"),
    (with_lines("LABEVENTS", '"' + LAB), "LABEVENTS.csv, after line 0: cannot be read (Error)"),
    (with_lines("ADMISSIONS", STAY.replace(",0,1", f",{SECRET},1")), "column hospital_expire_flag: is neither 0 nor 1"),
    (with_lines("PATIENTS", "1,7,F,1850-02-01 01:00:00,,,,0"), "PATIENTS.csv, line 2, column dob: is no day"),
    (with_lines("DIAGNOSES_ICD", "1,7,100,first,1"), "line 2, column seq_num: is no whole number"),
    (with_lines("DIAGNOSES_ICD", "1,7,555,1,1"), "line 2, column hadm_id: is no stay of ADMISSIONS"),
    (
        {**mimic_files.TABLES, "SERVICES": ["row_id,subject_id,hadm_id,transfertime,prev_service,x"]},
        "unknown columns ['x']",
    ),
    ({k: v for k, v in mimic_files.TABLES.items() if k != "TRANSFERS"}, "TRANSFERS.csv.gz (or .csv) is not in"),
]


@pytest.mark.parametrize("tables, says", BROKEN, ids=[says for _, says in BROKEN])
def test_bad_input_is_named_by_file_line_and_column_and_not_quoted(
    tmp_path: Path, tables: dict[str, list[str]], says: str
):
    with pytest.raises(MimicError) as caught:
        replay(tmp_path, tables)
    assert says in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_file_that_is_no_gzip(tmp_path: Path):
    mimic_files.write(tmp_path)
    (tmp_path / "LABEVENTS.csv").unlink()
    (tmp_path / "LABEVENTS.csv.gz").write_bytes(b"not gzip")
    with pytest.raises(MimicError, match=r"LABEVENTS\.csv\.gz.*BadGzipFile"):
        list(events(tmp_path, ZONE))


def test_no_column_is_both_mapped_and_left_out_and_all_fields_exist():
    names = {field.name for contract in CONTRACTS.values() for field in contract.fields}
    for table, columns in MAPPED.items():
        assert not columns.keys() & LEFT_OUT.get(table, {}).keys()
        assert set(columns.values()) <= names
    assert all(reason for columns in LEFT_OUT.values() for reason in columns.values())


# -- the real demo -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo() -> list[tuple[str, dict[str, Any]]]:
    return list(events(mimic_files.demo(), ZONE))


def test_every_column_of_the_demo_is_mapped_or_left_out():
    for file in mimic_files.demo().glob("*.csv.gz"):
        with gzip.open(file, "rt") as lines:
            header = next(csv.reader(lines))
        assert columns_of(file.name.partition(".")[0]) == {name.lower() for name in header}


def test_counts_of_the_demo(demo: list[tuple[str, dict[str, Any]]]):
    assert Counter((topic, event["kind"]) for topic, event in demo) == {
        ("patients", "registered"): 100,
        ("admissions", "admitted"): 129,
        ("admissions", "discharged"): 129,
        ("admissions", "updated"): 163 - 129,
        ("admissions", "transferred"): 524,
        ("diagnoses", "recorded"): 1_761,
        ("labs", "resulted"): 53_033,
    }
    assert len({event["event_id"] for _, event in demo}) == len(demo)
    assert sum(topic == "labs" and event["encounter_id"] is None for topic, event in demo) == 9_903
    times = [event["event_time"] for _, event in demo]
    assert times == sorted(times)


def test_every_event_of_the_demo_is_accepted(demo: list[tuple[str, dict[str, Any]]]):
    now = 1_780_000_000_000_000  # the broker's clock, long before MIMIC's dates
    encoders = {topic: Encoder(contract.latest, 1) for topic, contract in CONTRACTS.items()}
    decoders = {topic: Decoder(contract.latest) for topic, contract in CONTRACTS.items()}
    validators = {topic: Validator(contract) for topic, contract in CONTRACTS.items()}
    refused: Counter[str | None] = Counter()
    for topic, event in demo:
        decoded = decoders[topic].decode(split(encoders[topic].encode(event))[1])
        refused[validators[topic](decoded, now)] += 1
    assert refused == {None: len(demo)}
