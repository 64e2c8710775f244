"""MIMIC-III as events, each fact at its own time: the demo's files or the full data set's, in global order of time.

PATIENTS become `registered` at their first admission; ADMISSIONS `admitted` and `discharged`; SERVICES after the first
`updated`; TRANSFERS `transferred`; DIAGNOSES_ICD `recorded` at discharge; LABEVENTS `resulted`. recorded_at equals
event_time. Event ids are uuid5 of table, ROW_ID, kind and shift, so that a second replay changes nothing.

Dates in MIMIC are shifted into the future per patient; `mimic-iii` is declared historical in the contracts for that.
`recent` moves patients to a present of ours; without it each fact is sent at its own time.
What each column becomes is in `mimic_tables`. LABEVENTS is read row by row and ordered on disk (`spool`); the other
tables' facts go the same way, and only ADMISSIONS, SERVICES and the two code lists are held in memory.
"""

from __future__ import annotations

import logging
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from wardstream.sources.mimic.clock import Clock
from wardstream.sources.mimic.recent import Recent
from wardstream.sources.mimic.spool import Spool
from wardstream.sources.mimic.tables import Row, read_table

log = logging.getLogger(__name__)

SOURCE = "mimic-iii"
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://doi.org/10.13026/C2HM2Q")
"""Of all event ids of this source; changing it would make every replayed fact a new one."""
CODE_SYSTEM = "ICD-9-CM"

Event = dict[str, Any]
Fact = tuple[str, Event]
"""Topic and event; times are aware UTC datetimes, days are dates."""


Clocks = Callable[[str], Clock]
"""Patient -> the clock on which the facts lie."""


def events(folder: Path, zone: ZoneInfo, shuffle: int | None = None, recent: Recent | None = None) -> Iterator[Fact]:
    """All facts in order of event_time (ties: as read), or shuffled by a seed; with `recent` moved, and those it knows.

    `zone` is the facility's, whose clock MIMIC's times are. All files are read and parsed before the first event
    comes out; MimicError names file, line and column of what is wrong.
    """
    held_back = 0
    with Spool(shuffle) as spool:
        for topic, event in read_facts(folder, recent.clock if recent else lambda _: Clock(zone)):
            known = recent.known(event) if recent else event
            if known is None:
                held_back += 1
            else:
                spool.add(topic, known)
        if recent:
            log.info("%d events lie after %s; held back", held_back, recent.window)
        yield from spool


def read_facts(folder: Path, clocks: Clocks) -> Iterator[Fact]:
    """All facts in the order of the files: people, stays, movements, diagnoses, labs."""
    admissions = list(read_table(folder, "ADMISSIONS"))
    services = _services(folder, clocks)
    yield from _patients(folder, clocks, admissions)
    for row in admissions:
        yield from _stay(row, _clock(row, clocks), services.get(row.need("hadm_id"), []))
    for row in read_table(folder, "TRANSFERS"):
        yield _movement(row, _clock(row, clocks))
    yield from _diagnoses(folder, clocks, admissions)
    yield from _labs(folder, clocks)


def _clock(row: Row, clocks: Clocks) -> Clock:
    return clocks(row.need("subject_id"))


def event_id(table: str, row_id: str, kind: str, shift: str = "0") -> str:
    """The id of a fact: the same for every replay of the same row, whichever file format it was read from.

    `shift` names a displacement in time, so that a moved copy of a fact is another fact; "0" is none.
    """
    return str(uuid.uuid5(NAMESPACE, f"{table}:{row_id}:{kind}:{shift}"))


def _envelope(row: Row, table: str, kind: str, at: datetime, clock: Clock) -> Event:
    return {
        "event_id": event_id(table, row.need("row_id"), kind, str(clock.weeks)),
        "event_time": at,
        "recorded_at": at,
        "source_seq": 0,
        "source": SOURCE,
        "kind": kind,
        "patient_id": row.need("subject_id"),
    }


def _patients(folder: Path, clocks: Clocks, admissions: list[Row]) -> Iterator[Fact]:
    first: dict[str, datetime] = {}
    for row in admissions:
        person, at = row.need("subject_id"), row.need_time("admittime", _clock(row, clocks))
        first[person] = min(at, first.get(person, at))
    without = 0
    for row in read_table(folder, "PATIENTS"):
        seen = first.get(row.need("subject_id"))
        if seen is None:
            without += 1
            continue
        clock = _clock(row, clocks)
        yield (
            "patients",
            {
                **_envelope(row, "PATIENTS", "registered", seen, clock),
                "gender": row.text("gender"),
                "birth_date": row.day("dob", clock),
                "death_date": row.day("dod", clock),
                "death_date_hospital": row.day("dod_hosp", clock),
                "death_date_registry": row.day("dod_ssn", clock),
                "deceased": row.flag("expire_flag"),
            },
        )
    if without:
        log.warning(
            "%d people of PATIENTS have no admission, hence no time at which to register them; left out", without
        )


Service = tuple[datetime, Row]


def _services(folder: Path, clocks: Clocks) -> dict[str, list[Service]]:
    """Stay -> its services by time (ties: ROW_ID)."""
    by_stay: defaultdict[str, list[Service]] = defaultdict(list)
    for row in read_table(folder, "SERVICES"):
        by_stay[row.need("hadm_id")].append((row.need_time("transfertime", _clock(row, clocks)), row))
    for services in by_stay.values():
        services.sort(key=lambda service: (service[0], service[1].whole("row_id") or 0))
    return dict(by_stay)


def _stay(row: Row, clock: Clock, services: list[Service]) -> Iterator[Fact]:
    """admitted, an updated for each service after the first, discharged; each restates the stay's attributes."""
    attributes = {
        "encounter_id": row.need("hadm_id"),
        "admission_type": row.text("admission_type"),
        "admission_source": row.text("admission_location"),
        "insurance": row.text("insurance"),
        "language": row.text("language"),
        "religion": row.text("religion"),
        "marital_status": row.text("marital_status"),
        "ethnicity": row.text("ethnicity"),
        "admitting_diagnosis": row.text("diagnosis"),
        "ed_arrival_time": row.time("edregtime", clock),
        "ed_departure_time": row.time("edouttime", clock),
    }
    admitted, discharged = row.need_time("admittime", clock), row.need_time("dischtime", clock)
    first = _service(services[0]) if services else {}
    yield "admissions", {**_envelope(row, "ADMISSIONS", "admitted", admitted, clock), **attributes, **first}
    for service in services[1:]:
        changed = _envelope(service[1], "SERVICES", "updated", service[0], clock)
        yield "admissions", {**changed, **attributes, **_service(service)}
    until = [service for service in services if service[0] <= discharged]
    last = _service((until or services)[-1]) if services else {}
    yield (
        "admissions",
        {
            **_envelope(row, "ADMISSIONS", "discharged", discharged, clock),
            **attributes,
            **last,
            "discharge_disposition": row.text("discharge_location"),
            "death_time": row.time("deathtime", clock),
            "died_in_hospital": row.flag("hospital_expire_flag"),
        },
    )


def _service(service: Service) -> Event:
    since, row = service
    return {
        "service": row.text("curr_service"),
        "previous_service": row.text("prev_service"),
        "service_since": since,
    }


def _movement(row: Row, clock: Clock) -> Fact:
    return (
        "admissions",
        {
            **_envelope(row, "TRANSFERS", "transferred", row.need_time("intime", clock), clock),
            "encounter_id": row.need("hadm_id"),
            "movement_id": row.need("row_id"),
            "movement_type": row.text("eventtype"),
            "ward": row.text("curr_wardid"),
            "previous_ward": row.text("prev_wardid"),
            "care_unit": row.text("curr_careunit"),
            "previous_care_unit": row.text("prev_careunit"),
            "icu_stay_id": row.text("icustay_id"),
            "ward_until": row.time("outtime", clock),
            "ward_hours": row.number("los"),
            "source_system": row.text("dbsource"),
        },
    )


def _diagnoses(folder: Path, clocks: Clocks, admissions: list[Row]) -> Iterator[Fact]:
    discharges = {row.need("hadm_id"): row.need_time("dischtime", _clock(row, clocks)) for row in admissions}
    titles = {
        row.need("icd9_code"): (row.text("short_title"), row.text("long_title"))
        for row in read_table(folder, "D_ICD_DIAGNOSES")
    }
    for row in read_table(folder, "DIAGNOSES_ICD"):
        stay = row.need("hadm_id")
        if stay not in discharges:
            raise row.error("hadm_id", "is no stay of ADMISSIONS, so there is no discharge to date the diagnosis by")
        code = row.text("icd9_code")
        # Some codes are not in the list (45 rows of the demo): they keep the code and have no title.
        short, long = titles.get(code, (None, None)) if code else (None, None)
        yield (
            "diagnoses",
            {
                **_envelope(row, "DIAGNOSES_ICD", "recorded", discharges[stay], _clock(row, clocks)),
                "encounter_id": stay,
                "diagnosis_id": row.need("row_id"),
                "code": code,
                "code_system": CODE_SYSTEM,
                "sequence": row.whole("seq_num"),
                "short_title": short,
                "title": long,
            },
        )


def _labs(folder: Path, clocks: Clocks) -> Iterator[Fact]:
    items = {row.need("itemid"): row for row in read_table(folder, "D_LABITEMS")}
    for row in read_table(folder, "LABEVENTS"):
        code = row.need("itemid")
        item = items.get(code)
        clock = _clock(row, clocks)
        charted = row.need_time("charttime", clock)
        yield (
            "labs",
            {
                **_envelope(row, "LABEVENTS", "resulted", charted, clock),
                "encounter_id": row.text("hadm_id"),
                "lab_result_id": row.need("row_id"),
                "test_code": code,
                "test_name": item.text("label") if item else None,
                "specimen": item.text("fluid") if item else None,
                "category": item.text("category") if item else None,
                "loinc_code": item.text("loinc_code") if item else None,
                "value_text": row.text("value"),
                "value_number": row.number("valuenum"),
                "unit": row.text("valueuom"),
                "flag": row.text("flag"),
                "collected_at": charted,
            },
        )
