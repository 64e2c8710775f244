"""Made-up events of the benchmark: the same for the same run and seed, and of no other run.

Labs are single results in the order of their times, people in no order, as many wards send them. Admissions are whole
stays (admitted, one to three movements, discharged; some cancelled or corrected), all interleaved. The mix has every
topic, and corrections. Times are microseconds, and lie in the thirty days before the run began, so that none is ahead.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Event = dict[str, Any]
Message = tuple[str, Event]  # topic, event

MINUTE = 60_000_000
DAY = 1_440 * MINUTE
SPAN_DAYS = 30
PEOPLE = 20_000
KEYS = {
    "labs": "lab_result_id",
    "admissions": "event_id",
    "diagnoses": "diagnosis_id",
    "patients": "patient_id",
}
"""What one plain table of a topic has for its primary key."""
TESTS = (
    ("NA", "Sodium", "2951-2", "mmol/L", 139.0, 3.5),
    ("K", "Potassium", "2823-3", "mmol/L", 4.2, 0.5),
    ("CREA", "Creatinine", "2160-0", "mg/dL", 1.1, 0.4),
    ("GLU", "Glucose", "2345-7", "mg/dL", 122.0, 30.0),
    ("HGB", "Hemoglobin", "718-7", "g/dL", 12.6, 1.7),
)
WARDS = ("Medical ICU", "Step-down", "3 West", "4 North", "5 Cardiac", "6 South")
CODES = (
    ("I10", "Essential (primary) hypertension"),
    ("J189", "Pneumonia, unspecified organism"),
    ("N179", "Acute kidney failure"),
)


@dataclass(frozen=True)
class Run:
    """What makes events those of one run: its name is in every id, and its times end at `now` (microseconds)."""

    name: str
    now: int

    def part(self, name: str) -> Run:
        """The same moment under a further name: other events."""
        return Run(f"{self.name}-{name}", self.now)


class Maker:
    """Makes the events of one run from one source of chance."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.chance = random.Random(run.name)  # noqa: S311 - made-up data, no secret
        self.begin = run.now - (SPAN_DAYS + 1) * DAY

    def envelope(self, kind: str, patient: str, at: int, written: int) -> Event:
        """The fields that every event has."""
        return {
            "event_id": str(uuid.UUID(int=self.chance.getrandbits(128), version=4)),
            "event_time": at,
            "recorded_at": written,
            "source": "benchmark",
            "kind": kind,
            "patient_id": patient,
        }

    def person(self) -> str:
        """One of the people."""
        return f"P{self.chance.randrange(PEOPLE):05d}"

    def lab(self, number: int, count: int) -> Event:
        """One of `count` results, spread over the span."""
        patient, (code, name, loinc, unit, mean, spread) = self.person(), self.chance.choice(TESTS)
        taken = self.begin + number * SPAN_DAYS * DAY // count - self.chance.randrange(30 * MINUTE)
        reported = taken + self.chance.randrange(30 * MINUTE, 90 * MINUTE)
        value = round(max(self.chance.gauss(mean, spread), mean / 5), 2)
        return {
            **self.envelope("resulted", patient, taken, reported),
            "encounter_id": f"{patient}-{self.run.name}",
            "lab_result_id": f"{self.run.name}-L{number}",
            "test_code": code,
            "test_name": name,
            "specimen": "Blood",
            "category": "Chemistry",
            "loinc_code": loinc,
            "value_text": str(value),
            "value_number": value,
            "unit": unit,
            "flag": "abnormal" if self.chance.random() < 0.3 else None,
            "ordered_at": taken - 20 * MINUTE,
            "collected_at": taken,
            "reported_at": reported,
        }

    def stay(self, number: int, stays: int) -> list[Event]:
        """All that is said of one of `stays` stays."""
        patient, stay = self.person(), f"{self.run.name}-E{number}"
        at = self.begin + number * (SPAN_DAYS - 5) * DAY // stays
        end = at + self.chance.randrange(10 * 60, 100 * 60) * MINUTE
        about = {"admission_type": "EMERGENCY", "service": "MED", "insurance": "Private", "service_since": at}

        def fact(kind: str, when: int, **values: Any) -> Event:
            return {**self.envelope(kind, patient, when, when + 3 * MINUTE), "encounter_id": stay, **values}

        events = [fact("admitted", at, **about)]
        if self.chance.random() < 0.02:
            cancelled = fact("cancelled_admit", at + 30 * MINUTE, cancels_event_id=events[0]["event_id"])
            return [*events, cancelled]
        before = None
        times = sorted(self.chance.randrange(at, end) for _ in range(self.chance.randint(0, 2)))
        for move, when in enumerate([at, *times]):
            ward = self.chance.choice(WARDS)
            said = {"movement_id": f"{stay}-M{move}", "movement_type": "transfer" if move else "admit", "ward": ward}
            events.append(fact("transferred", when, previous_ward=before, **said))
            before = ward
        events.append(fact("discharged", end, discharge_disposition="HOME", died_in_hospital=False, **about))
        if self.chance.random() < 0.04:  # discharged in error, and again the day after
            events.append(fact("cancelled_discharge", end + 30 * MINUTE))
            events.append(fact("discharged", end + DAY, discharge_disposition="HOME", **about))
        return events

    def diagnosis(self, number: int, count: int) -> Event:
        """One of `count` coded diagnoses."""
        patient, (code, title) = self.person(), self.chance.choice(CODES)
        at = self.begin + number * SPAN_DAYS * DAY // count
        said = {"code": code, "code_system": "ICD-10-CM", "sequence": number % 9 + 1, "title": title}
        names = {"encounter_id": f"{patient}-{self.run.name}", "diagnosis_id": f"{self.run.name}-D{number}"}
        return {**self.envelope("recorded", patient, at, at + 60 * MINUTE), **names, **said}

    def patient(self, number: int, count: int) -> Event:
        """One of `count` people of this run alone."""
        at = self.begin + number * SPAN_DAYS * DAY // count
        born = -self.chance.randrange(20_000)
        said = {"gender": self.chance.choice("FM"), "birth_date": born, "deceased": False}
        return {**self.envelope("registered", f"{self.run.name}-P{number}", at, at + MINUTE), **said}


def labs(run: Run, count: int) -> Iterator[Message]:
    """`count` results."""
    maker = Maker(run)
    return (("labs", maker.lab(number, count)) for number in range(count))


def admissions(run: Run, count: int) -> Iterator[Message]:
    """`count` events of stays, by the time at which they were written down."""
    maker, made = Maker(run), list[Event]()
    stays = max(1, count // 3)  # one has four events or more, but for the few that are cancelled at once
    number = 0
    while len(made) < count:
        made += maker.stay(number, stays)
        number += 1
    made.sort(key=lambda event: event["recorded_at"])
    return (("admissions", event) for event in made[:count])


def mix(run: Run, count: int) -> Iterator[Message]:
    """`count` events as a hospital sends them: of each hundred 80 labs, 12 of stays, 6 diagnoses, 2 people.

    Of the labs two in a hundred correct an earlier one.
    """
    maker = Maker(run)
    shares = {"labs": count * 80 // 100, "diagnoses": count * 6 // 100, "patients": count * 2 // 100}
    shares["admissions"] = count - sum(shares.values())
    sources: dict[str, Iterator[Event]] = {
        "labs": _corrected(maker, shares["labs"]),
        "diagnoses": (maker.diagnosis(n, max(1, shares["diagnoses"])) for n in range(shares["diagnoses"])),
        "patients": (maker.patient(n, max(1, shares["patients"])) for n in range(shares["patients"])),
        "admissions": (event for _, event in admissions(run.part("stays"), shares["admissions"])),
    }
    order = [topic for topic, share in shares.items() for _ in range(share)]
    random.Random(f"{run.name} order").shuffle(order)  # noqa: S311 - made-up data, no secret
    return ((topic, next(sources[topic])) for topic in order)


def _corrected(maker: Maker, count: int) -> Iterator[Event]:
    last: Event | None = None
    for number in range(count):
        event = maker.lab(number, max(1, count))
        if last is not None and maker.chance.random() < 0.02:
            event |= {"kind": "corrected", "lab_result_id": last["lab_result_id"]}
        else:
            last = event
        yield event


MAKERS: dict[str, Callable[[Run, int], Iterator[Message]]] = {"labs": labs, "admissions": admissions, "mix": mix}
