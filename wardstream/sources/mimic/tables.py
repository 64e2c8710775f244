"""Reading the CSV files of MIMIC-III: which columns there are, what becomes of each, and how their texts are parsed.

Every column is in `MAPPED` (with the field that it fills) or in `LEFT_OUT` (with the reason); a file with another
column is refused, so that nothing is dropped unseen. Files may be gzipped or not, headers in either case.
"""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from wardstream.sources.mimic.clock import Clock

_IDS = {"subject_id": "patient_id", "hadm_id": "encounter_id"}
_ROW_NUMBER = "the row number of a code list; the code itself is the key"
_ICUSTAYS = (
    *("row_id", "subject_id", "hadm_id", "icustay_id", "dbsource", "first_careunit", "last_careunit"),
    *("first_wardid", "last_wardid", "intime", "outtime", "los"),
)

MAPPED = {
    "PATIENTS": {
        **{"row_id": "event_id", "subject_id": "patient_id", "gender": "gender", "dob": "birth_date"},
        **{"dod": "death_date", "dod_hosp": "death_date_hospital", "dod_ssn": "death_date_registry"},
        "expire_flag": "deceased",
    },
    "ADMISSIONS": {
        **_IDS,
        **{"row_id": "event_id", "admittime": "event_time", "dischtime": "event_time", "deathtime": "death_time"},
        **{"admission_type": "admission_type", "admission_location": "admission_source"},
        **{"discharge_location": "discharge_disposition", "insurance": "insurance", "language": "language"},
        **{"religion": "religion", "marital_status": "marital_status", "ethnicity": "ethnicity"},
        **{"edregtime": "ed_arrival_time", "edouttime": "ed_departure_time", "diagnosis": "admitting_diagnosis"},
        "hospital_expire_flag": "died_in_hospital",
    },
    "SERVICES": {
        **_IDS,
        **{"row_id": "event_id", "transfertime": "service_since", "prev_service": "previous_service"},
        "curr_service": "service",
    },
    "TRANSFERS": {
        **_IDS,
        **{"row_id": "movement_id", "icustay_id": "icu_stay_id", "dbsource": "source_system"},
        **{"eventtype": "movement_type", "prev_careunit": "previous_care_unit", "curr_careunit": "care_unit"},
        **{"prev_wardid": "previous_ward", "curr_wardid": "ward", "intime": "event_time", "outtime": "ward_until"},
        "los": "ward_hours",
    },
    "DIAGNOSES_ICD": {**_IDS, "row_id": "diagnosis_id", "seq_num": "sequence", "icd9_code": "code"},
    "D_ICD_DIAGNOSES": {"icd9_code": "code", "short_title": "short_title", "long_title": "title"},
    "LABEVENTS": {
        **_IDS,
        **{"row_id": "lab_result_id", "itemid": "test_code", "charttime": "collected_at", "value": "value_text"},
        **{"valuenum": "value_number", "valueuom": "unit", "flag": "flag"},
    },
    "D_LABITEMS": {
        **{"itemid": "test_code", "label": "test_name", "fluid": "specimen", "category": "category"},
        "loinc_code": "loinc_code",
    },
}
"""Table -> column -> the field of the contract that it fills."""

LEFT_OUT = {
    "ADMISSIONS": {"has_chartevents_data": "says whether a table of MIMIC that is not replayed has rows"},
    "D_ICD_DIAGNOSES": {"row_id": _ROW_NUMBER},
    "D_LABITEMS": {"row_id": _ROW_NUMBER},
    "ICUSTAYS": dict.fromkeys(_ICUSTAYS, "derived from TRANSFERS, whose rows are all replayed with their icustay_id"),
}
"""Table -> column -> why nothing of it is replayed."""


class MimicError(ValueError):
    """A file of MIMIC that is missing or is not as described; names file, line and column, never a value."""


def columns_of(table: str) -> set[str]:
    """All columns that a table may and must have, in lower case."""
    return {*MAPPED.get(table, {}), *LEFT_OUT.get(table, {})}


@dataclass(frozen=True)
class Row:
    """One row of a table; its methods parse a column and say where it stands when they cannot."""

    file: str
    line: int
    values: dict[str, str]
    null: frozenset[str]
    """Texts that mean null in this file."""

    def text(self, column: str) -> str | None:
        """The text exactly as it is, or None for null."""
        value = self.values[column]
        return None if value in self.null else value

    def need(self, column: str) -> str:
        """The text of a column that may not be null."""
        value = self.text(column)
        if value is None:
            raise self.error(column, "is empty")
        return value

    def shown(self, column: str) -> datetime | None:
        """What the facility's clock showed: a time without a zone."""
        value = self.text(column)
        try:
            return None if value is None else datetime.strptime(value, "%Y-%m-%d %H:%M:%S")
        except ValueError:
            raise self.error(column, "is no time (YYYY-MM-DD HH:MM:SS)") from None

    def need_shown(self, column: str) -> datetime:
        """A clock time that may not be null, without a zone."""
        self.need(column)
        found = self.shown(column)
        assert found is not None
        return found

    def time(self, column: str, clock: Clock) -> datetime | None:
        """A time of the patient's clock as UTC (see `Clock.utc`)."""
        shown = self.shown(column)
        try:
            return None if shown is None else clock.utc(shown)
        except OverflowError:
            raise self.error(column, "lies outside the calendar") from None

    def need_time(self, column: str, clock: Clock) -> datetime:
        """A time that may not be null, as UTC (see `time`)."""
        self.need(column)
        found = self.time(column, clock)
        assert found is not None
        return found

    def day(self, column: str, clock: Clock) -> date | None:
        """A day of the patient's calendar, written as its midnight; the zone plays no part."""
        value = self.text(column)
        if value is None:
            return None
        try:
            return clock.day(datetime.strptime(value, "%Y-%m-%d 00:00:00").date())
        except ValueError:
            raise self.error(column, "is no day (YYYY-MM-DD 00:00:00)") from None
        except OverflowError:
            raise self.error(column, "lies outside the calendar") from None

    def whole(self, column: str) -> int | None:
        """A whole number."""
        value = self.text(column)
        try:
            return None if value is None else int(value)
        except ValueError:
            raise self.error(column, "is no whole number") from None

    def number(self, column: str) -> float | None:
        """A finite number; NA is null here even where it is a text elsewhere in the file."""
        value = self.text(column)
        if value is None or value == "NA":
            return None
        try:
            number = float(value)
        except ValueError:
            raise self.error(column, "is no number") from None
        if not math.isfinite(number):
            raise self.error(column, "is no finite number")
        return number

    def flag(self, column: str) -> bool | None:
        """0 or 1 as a boolean."""
        value = self.text(column)
        if value not in (None, "0", "1"):
            raise self.error(column, "is neither 0 nor 1")
        return None if value is None else value == "1"

    def error(self, column: str, what: str) -> MimicError:
        """The error for a column of this row."""
        return MimicError(f"{self.file}, line {self.line}, column {column}: {what}")


def read_table(folder: Path, table: str) -> Iterator[Row]:
    """The rows of a table in the order of its file. MimicError for a missing file, other columns, a broken row."""
    path = _find(folder, table)
    opened = gzip.open if path.suffix == ".gz" else open
    line = 0
    try:
        with opened(path, "rt", encoding="utf-8", newline="") as lines:
            first = lines.readline()
            header = [name.lower() for name in next(csv.reader([first]), [])]
            _check_header(path, table, header)
            null = _null_texts(table, first)
            rows = csv.reader(lines, strict=True)
            for values in rows:
                line = rows.line_num + 1
                if len(values) != len(header):
                    raise MimicError(f"{path.name}, line {line}: {len(values)} columns, the header has {len(header)}")
                yield Row(path.name, line, dict(zip(header, values, strict=True)), null)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise MimicError(f"{path.name}, after line {line}: cannot be read ({type(error).__name__})") from error


def _null_texts(table: str, header: str) -> frozenset[str]:
    """Empty is null in every file of MIMIC; NA is too in the export of LABEVENTS that comes with the demo.

    That export is known by its header, quoted and in lower case (the official files are either unquoted or in upper
    case). In an official file NA would be a text that a laboratory sent.
    """
    exported = table == "LABEVENTS" and header.startswith('"') and header == header.lower()
    return frozenset({"", "NA"}) if exported else frozenset({""})


def _find(folder: Path, table: str) -> Path:
    for name in (f"{table}.csv.gz", f"{table}.csv", f"{table.lower()}.csv.gz", f"{table.lower()}.csv"):
        if (folder / name).is_file():
            return folder / name
    raise MimicError(f"{table}.csv.gz (or .csv) is not in {folder}; give the folder with the CSV files of MIMIC-III")


def _check_header(path: Path, table: str, header: list[str]) -> None:
    expected = columns_of(table)
    unknown, missing = sorted(set(header) - expected), sorted(expected - set(header))
    if unknown or missing or len(header) != len(set(header)):
        raise MimicError(
            f"{path.name}, line 1: unknown columns {unknown}, missing columns {missing}; "
            "wardstream/sources/mimic/tables.py says what is known"
        )
