"""Made-up facts in one line each, and times counted in hours from one Monday."""

from datetime import UTC, datetime, timedelta
from typing import Any

Fact = tuple[str, dict[str, Any]]  # topic, event
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
LATER = datetime(2026, 6, 1, tzinfo=UTC)  # the broker's clock: after everything that these tests record


def hour(number: float) -> datetime:
    """An instant, in hours from Monday 00:00 UTC."""
    return MONDAY + timedelta(hours=number)


def event(event_id: str, kind: str, at: float, recorded: float | None = None, **more: Any) -> dict[str, Any]:
    """The envelope; recorded when it happened, unless said otherwise."""
    return {
        "event_id": event_id,
        "kind": kind,
        "event_time": hour(at),
        "recorded_at": hour(at if recorded is None else recorded),
        "source_seq": 0,
        "source": "test",
        "patient_id": "P1",
        **more,
    }


def stay(event_id: str, kind: str, at: float, recorded: float | None = None, **more: Any) -> Fact:
    """A fact of stay E1."""
    return "admissions", {"encounter_id": "E1", **event(event_id, kind, at, recorded, **more)}


def lab(event_id: str, kind: str, at: float, recorded: float | None = None, **more: Any) -> Fact:
    """A fact of laboratory result L1."""
    return "labs", {"lab_result_id": "L1", **event(event_id, kind, at, recorded, **more)}
