"""Made-up patients for a first look: a small hospital's last thirty days, the same events for the same seed and anchor.

Nobody in it exists. It shows what the platform must get right: open stays, transfers, corrected and cancelled
results, a discharge corrected or cancelled, an admission that never was, arrivals through the emergency department.
Everything is generated as if time had no end and then cut at the anchor: what would be written later is not there
yet, so that some stays are open. It is no simulator of flows (a later source), and its values are plausible, no more.

ICD-10-CM is by the US government. This material contains content from LOINC (http://loinc.org). LOINC is copyright
Regenstrief Institute, Inc. and the Logical Observation Identifiers Names and Codes (LOINC) Committee and is available
at no cost under the license at http://loinc.org/license. LOINC is a registered trademark of Regenstrief Institute, Inc.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Generator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

SOURCE = "sample"
ANCHOR = datetime(2026, 11, 1, tzinfo=UTC)
"""The sample's present by default: a constant, so that a repeat publishes the same events."""
PEOPLE = 300
DAYS = 30
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://wardstream.invalid/sample")


class AnchorError(ValueError):
    """An anchor ahead of this machine's clock: the sample's events would come from the future."""


Event = dict[str, Any]
Fact = tuple[str, Event]

_SERVICES = ("MED", "CMED", "SURG", "ORTHO", "NEURO", "OBS")
_WARDS = {
    "MED": "4 North",
    "CMED": "5 Cardiac",
    "SURG": "3 West",
    "ORTHO": "3 East",
    "NEURO": "6 South",
    "OBS": "2 Obs",
}
_INSURANCE = ("Medicare", "Medicaid", "Private", "Self Pay")
_TYPES = ("EMERGENCY", "EMERGENCY", "EMERGENCY", "URGENT", "ELECTIVE")
_DISPOSITIONS = ("HOME", "HOME", "HOME", "HOME HEALTH CARE", "SKILLED NURSING FACILITY", "REHABILITATION")
_CODES = (
    ("I10", "Essential (primary) hypertension"),
    ("E119", "Type 2 diabetes mellitus without complications"),
    ("I5021", "Acute systolic (congestive) heart failure"),
    ("J189", "Pneumonia, unspecified organism"),
    ("N179", "Acute kidney failure, unspecified"),
    ("A419", "Sepsis, unspecified organism"),
    ("S72001A", "Fracture of unspecified part of neck of right femur, initial encounter for closed fracture"),
    ("I639", "Cerebral infarction, unspecified"),
    ("K8000", "Calculus of gallbladder with acute cholecystitis without obstruction"),
    ("D649", "Anemia, unspecified"),
)
# code, name, section, LOINC, unit, mean, spread, low, high, decimals
_PANEL = (
    ("NA", "Sodium", "Chemistry", "2951-2", "mmol/L", 139.0, 3.5, 135.0, 145.0, 0),
    ("K", "Potassium", "Chemistry", "2823-3", "mmol/L", 4.2, 0.5, 3.5, 5.1, 1),
    ("CREA", "Creatinine", "Chemistry", "2160-0", "mg/dL", 1.1, 0.4, 0.5, 1.2, 2),
    ("GLU", "Glucose", "Chemistry", "2345-7", "mg/dL", 122.0, 30.0, 70.0, 110.0, 0),
    ("HGB", "Hemoglobin", "Hematology", "718-7", "g/dL", 12.6, 1.7, 12.0, 16.0, 1),
    ("WBC", "White Blood Cells", "Hematology", "6690-2", "10*3/uL", 8.6, 2.6, 4.0, 11.0, 1),
)


def events(seed: int = 1, anchor: datetime = ANCHOR) -> list[Fact]:
    """At least 250 people and 6,000 events, ordered by recorded_at.

    `anchor` (aware): the sample's present; nothing is recorded after it. AnchorError for one that lies ahead of the
    clock.
    """
    if anchor > datetime.now(UTC):
        raise AnchorError(f"the anchor {anchor.isoformat()} lies ahead of this machine's clock; give an earlier one")
    made = [fact for number in range(1, PEOPLE + 1) for fact in _Person(seed, anchor, number).life()]
    return sorted(
        (f for f in made if f[1]["recorded_at"] <= anchor), key=lambda f: (f[1]["recorded_at"], f[1]["event_id"])
    )


class _Person:
    """One person's facts; has a random source of its own, so that people do not depend on one another."""

    def __init__(self, seed: int, anchor: datetime, number: int) -> None:
        self.random = random.Random(f"{seed}/{number}")  # noqa: S311 - made-up data, no secret
        self.scope = f"{seed}/{anchor.isoformat()}"
        self.start = anchor - timedelta(days=DAYS)
        self.id = f"S{seed}-{number:04d}"

    def fact(self, topic: str, what: str, kind: str, at: datetime, late: float = 3.0, **values: Any) -> Fact:
        """`what` names the fact for ever; `late`: minutes from when it happened until it was written down."""
        identity = uuid.uuid5(_NAMESPACE, f"{self.scope}/{self.id}/{what}")
        envelope = {"event_id": str(identity), "event_time": at, "recorded_at": at + timedelta(minutes=late)}
        return topic, {**envelope, "source_seq": 0, "source": SOURCE, "kind": kind, "patient_id": self.id, **values}

    def after(self, at: datetime, low: float, high: float) -> datetime:
        """A moment between `low` and `high` hours after another, in whole minutes."""
        return at + timedelta(minutes=round(self.random.uniform(low, high) * 60))

    def life(self) -> Iterator[Fact]:
        born = (self.start - timedelta(days=self.random.randint(18 * 365, 92 * 365))).date()
        person: Event = {"gender": self.random.choice("FM"), "birth_date": born, "deceased": False}
        begin = self.after(self.start, 1, 24 * DAYS - 2)
        yield self.fact("patients", "registered", "registered", begin - timedelta(minutes=30), **person)
        if self.random.random() < 0.05:
            right: Event = {**person, "birth_date": born - timedelta(days=self.random.randint(1, 400))}
            yield self.fact("patients", "updated", "updated", self.after(begin, 1, 20), **right)
        end = yield from self.stay(1, begin)
        if self.random.random() < 0.2:
            yield from self.stay(2, self.after(end, 48, 240))

    def stay(self, number: int, admitted: datetime) -> Generator[Fact, None, datetime]:
        """One stay; returns when it ended."""
        stay = f"{self.id}-{number}"
        service = self.random.choice(_SERVICES)
        kind = self.random.choice(_TYPES)
        about: dict[str, Any] = {
            "encounter_id": stay,
            "admission_type": kind,
            "admission_source": "EMERGENCY ROOM" if kind == "EMERGENCY" else "PHYSICIAN REFERRAL",
            "service": service,
            "service_since": admitted,
            "insurance": self.random.choice(_INSURANCE),
        }
        if kind == "EMERGENCY":
            about["ed_arrival_time"] = self.after(admitted, -9, -2)
            about["ed_departure_time"] = self.after(admitted, -0.5, 0.5)
        admission = self.fact("admissions", f"{stay}/admitted", "admitted", admitted, **about)
        yield admission
        if self.random.random() < 0.02:  # entered for the wrong person, and cancelled
            named: Event = {"cancels_event_id": admission[1]["event_id"]} if self.random.random() < 0.5 else {}
            at = self.after(admitted, 0.2, 1)
            yield self.fact("admissions", f"{stay}/undo", "cancelled_admit", at, encounter_id=stay, **named)
            return at
        end = self.after(admitted, 10, 20 + self.random.expovariate(1 / 90))
        yield from self.movements(stay, service, admitted, end)
        yield from self.labs(stay, admitted, end)
        yield from self.discharge(stay, about, end)
        yield from self.diagnoses(stay, end)
        return end

    def movements(self, stay: str, service: str, admitted: datetime, end: datetime) -> Iterator[Fact]:
        wards = ["Medical ICU", _WARDS[service]] if self.random.random() < 0.25 else [_WARDS[service]]
        if self.random.random() < 0.3:
            wards.append("Step-down")
        times = sorted([admitted, *(self.after(admitted, 4, (end - admitted) / timedelta(hours=1)) for _ in wards[1:])])
        before = None
        for number, (ward, at) in enumerate(zip(wards, times, strict=True), 1):
            yield self.movement(stay, number, "transfer" if before else "admit", at, ward=ward, previous_ward=before)
            before = ward
        if self.random.random() < 0.05:  # sent to a ward on the screen only
            wrong = self.movement(
                stay, 90, "transfer", self.after(admitted, 5, 9), ward="7 Annex", previous_ward=before
            )
            yield wrong
            at = wrong[1]["recorded_at"] + timedelta(minutes=20)
            named: Event = {"encounter_id": stay, "cancels_event_id": wrong[1]["event_id"]}
            yield self.fact("admissions", f"{stay}/unmove", "cancelled_transfer", at, **named)
        yield self.movement(stay, 99, "discharge", end, previous_ward=before)

    def movement(self, stay: str, number: int, kind: str, at: datetime, **values: Any) -> Fact:
        identity: Event = {"encounter_id": stay, "movement_id": f"{stay}-M{number}", "movement_type": kind}
        return self.fact("admissions", f"{stay}/move/{number}", "transferred", at, **identity, **values)

    def discharge(self, stay: str, about: Event, end: datetime) -> Iterator[Fact]:
        died = self.random.random() < 0.02
        how: Event = {"discharge_disposition": self.random.choice(_DISPOSITIONS), "died_in_hospital": False}
        if died:
            how = {"discharge_disposition": "DEAD/EXPIRED", "died_in_hospital": True, "death_time": end}
        yield self.fact("admissions", f"{stay}/discharged", "discharged", end, **about, **how)
        change = self.random.random()
        if change < 0.03:  # the time was wrong
            earlier = end - timedelta(minutes=45)
            yield self.fact("admissions", f"{stay}/redischarged", "discharged", earlier, 400, **about, **how)
        elif change < 0.06 and not died:  # cancelled without naming it, and done again the next day
            back = end + timedelta(minutes=30)
            yield self.fact("admissions", f"{stay}/undischarged", "cancelled_discharge", back, encounter_id=stay)
            yield self.fact("admissions", f"{stay}/again", "discharged", end + timedelta(days=1), **about, **how)

    def diagnoses(self, stay: str, end: datetime) -> Iterator[Fact]:
        chosen = self.random.sample(_CODES, self.random.randint(2, 4))
        for number, (code, title) in enumerate(chosen, 1):
            about: Event = {"encounter_id": stay, "diagnosis_id": f"{stay}-D{number}", "code_system": "ICD-10-CM"}
            said: Event = {**about, "sequence": number, "code": code, "title": title}
            yield self.fact("diagnoses", f"{stay}/dx/{number}", "recorded", end, 60, **said)
            change = self.random.random()
            if change < 0.02:
                yield self.fact("diagnoses", f"{stay}/dx/{number}/cancelled", "cancelled", end, 3000, **about)
            elif change < 0.05:
                other = self.random.choice([one for one in _CODES if one not in chosen])
                right: Event = {**said, "code": other[0], "title": other[1]}
                yield self.fact("diagnoses", f"{stay}/dx/{number}/corrected", "corrected", end, 2000, **right)

    def labs(self, stay: str, admitted: datetime, end: datetime) -> Iterator[Fact]:
        at, number = self.after(admitted, 0.2, 1), 0
        while at < end:
            for test in _PANEL if number == 0 else self.random.sample(_PANEL, 3):
                number += 1
                yield from self.lab(stay, number, test, at)
            at = self.after(at, 16, 28)

    def lab(self, stay: str, number: int, test: tuple[Any, ...], at: datetime) -> Iterator[Fact]:
        code, name, section, loinc, unit, mean, spread, low, high, decimals = test
        reported = self.after(at, 0.5, 1.6)
        late = (reported - at) / timedelta(minutes=1)
        about = {"encounter_id": stay, "lab_result_id": f"{stay}-L{number}", "test_code": code, "test_name": name}
        about |= {"specimen": "Blood", "category": section, "loinc_code": loinc, "unit": unit, "collected_at": at}
        about |= {"ordered_at": self.after(at, -1, -0.1), "reported_at": reported}

        def value() -> Event:
            text = f"{max(self.random.gauss(mean, spread), mean * 0.2):.{decimals}f}"
            flag = None if low <= float(text) <= high else "abnormal"
            return {"value_text": text, "value_number": float(text), "flag": flag}

        yield self.fact("labs", f"{stay}/lab/{number}", "resulted", at, late, **about, **value())
        change = self.random.random()
        if change < 0.01:
            yield self.fact("labs", f"{stay}/lab/{number}/cancelled", "cancelled", at, late + 90, **about)
        elif change < 0.03:
            yield self.fact("labs", f"{stay}/lab/{number}/corrected", "corrected", at, late + 300, **about, **value())
