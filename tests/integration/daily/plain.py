"""The three tables counted in plain Python from the rows of core: what Spark and PostgreSQL are compared with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tests.integration.commit.bench import Bench

Row = dict[str, Any]
Key = tuple[Any, ...]


def anybody(source: str) -> bool:
    """Any source."""
    return True


def core(bench: Bench, table: str, of: Callable[[str], bool]) -> list[Row]:
    """All rows of a core table that these sources gave."""
    found = bench.admin.execute(f"SELECT * FROM core.{table}".encode())
    columns = [column.name for column in found.description or []]
    return [row for row in (dict(zip(columns, row, strict=True)) for row in found) if of(row["source"])]


def between(numbers: Iterable[float], share: float) -> float | None:
    """A percentile, interpolated between the two nearest."""
    ordered = sorted(numbers)
    if not ordered:
        return None
    place = (len(ordered) - 1) * share
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def admissions(bench: Bench, zone: ZoneInfo, today: date, of: Callable[[str], bool] = anybody) -> dict[Key, Row]:
    """mart.daily_admissions by its key."""

    def day(at: datetime) -> date:
        return at.astimezone(zone).date()

    shown = {
        (r["authority"], r["encounter_id"]): r
        for r in core(bench, "encounters", of)
        if r["status"] in ("open", "discharged")
    }
    counts: dict[Key, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    lengths: defaultdict[Key, list[int]] = defaultdict(list)
    for r in shown.values():
        who = (r["service"] or "(unknown)", r["admission_type"] or "(unknown)")
        came = day(r["admitted_at"])
        counts[came, *who]["admissions"] += 1
        until = today
        if r["discharged_at"] is not None:
            until = day(r["discharged_at"])
            counts[until, *who]["discharges"] += 1
            counts[until, *who]["deaths"] += r["died_in_hospital"] is True
            if r["discharged_at"] >= r["admitted_at"]:
                lengths[until, *who].append((until - came).days)
        for n in range((until - came).days):
            if came + timedelta(days=n) != today:
                counts[came + timedelta(days=n), *who]["midnight_census"] += 1
    for m in core(bench, "movements", of):
        stay = shown.get((m["authority"], m["encounter_id"]))
        if stay and m["status"] == "active" and m["movement_type"] == "transfer":
            at, left = m["moved_at"], stay["discharged_at"]
            if stay["admitted_at"] <= at and (at <= left if left else day(at) <= today):
                who = (stay["service"] or "(unknown)", stay["admission_type"] or "(unknown)")
                counts[day(at), *who]["transfers"] += 1
    return {
        key: {
            **{name: found[name] for name in ("admissions", "discharges", "deaths", "transfers")},
            "midnight_census": None if key[0] == today else found["midnight_census"],
            "los_stays": len(lengths[key]),
            "los_days_sum": sum(lengths[key]),
            "alos_days": sum(lengths[key]) / len(lengths[key]) if lengths[key] else None,
            "los_median_days": between(lengths[key], 0.5),
            "los_p90_days": between(lengths[key], 0.9),
        }
        for key, found in counts.items()
    }


def labs(bench: Bench, zone: ZoneInfo, of: Callable[[str], bool] = anybody) -> dict[Key, Row]:
    """mart.daily_labs by its key, without turnaround."""
    groups: defaultdict[Key, list[Row]] = defaultdict(list)
    for r in core(bench, "lab_results", of):
        if r["status"] != "cancelled":
            day = r["observed_at"].astimezone(zone).date()
            groups[day, r["test_code"] or "(unknown)", r["unit"] or "(none)"].append(r)
    found = {}
    for key, rows in groups.items():
        numbers = [n for n in (r["value_number"] for r in rows) if n is not None]
        found[key] = {
            "results": len(rows),
            "numeric_results": len(numbers),
            "median_value": between(numbers, 0.5),
            "p90_value": between(numbers, 0.9),
        }
    return found


def diagnoses(bench: Bench, zone: ZoneInfo, of: Callable[[str], bool] = anybody) -> dict[Key, Row]:
    """mart.daily_diagnoses by its key, without chapter and titles."""
    groups: defaultdict[Key, list[Row]] = defaultdict(list)
    for r in core(bench, "diagnoses", of):
        if r["status"] != "cancelled":
            day = r["coded_at"].astimezone(zone).date()
            groups[day, r["code_system"] or "(unknown)", r["code"] or "(unknown)"].append(r)
    return {
        key: {
            "diagnoses": len(rows),
            "primary_diagnoses": sum(r["sequence"] == 1 for r in rows),
            "patients": len({r["patient_id"] for r in rows}),
            "encounters": len({r["encounter_id"] for r in rows}),
        }
        for key, rows in groups.items()
    }
