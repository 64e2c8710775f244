"""Two reports side by side: which figures got worse or better by more than a tolerance, and which only one has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TOLERANCE = 0.10


@dataclass
class Difference:
    """What lies between two reports; each line says name, before, after and by how much."""

    worse: list[str] = field(default_factory=list)
    better: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    """Figures that only one of them has."""
    doubts: list[str] = field(default_factory=list)
    """Why the two can hardly be compared."""


def compare(before: Mapping[str, Any], after: Mapping[str, Any], tolerance: float = TOLERANCE) -> Difference:
    """The differences of two reports, the greater ones first."""
    found = Difference(doubts=_doubts(before, after))
    old, new = before["figures"], after["figures"]
    found.missing = sorted(f"{name}: only {'before' if name in old else 'after'}" for name in old.keys() ^ new.keys())
    changes = []
    for name in old.keys() & new.keys():
        if new[name]["better"] != "neither":
            loss = _loss(old[name]["median"], new[name]["median"], new[name]["better"])
            if abs(loss) > tolerance:
                changes.append((loss, name))
    for loss, name in sorted(changes, key=lambda change: (-abs(change[0]), change[1])):
        a, b, unit = old[name]["median"], new[name]["median"], new[name]["unit"]
        (found.worse if loss > 0 else found.better).append(f"{name}: {a:,g} -> {b:,g} {unit} ({_percent(a, b)})")
    return found


def _loss(before: float, after: float, better: str) -> float:
    """By what share it got worse, negative where it got better. Rates are turned round, so that half is as bad as twice
    the time."""
    worse, base = (after, before) if better == "lower" else (before, after)
    if base == worse:
        return 0.0
    small = min(abs(base), abs(worse))
    step = abs(worse - base) / small if small else float("inf")
    return step if worse > base else -step


def _percent(before: float, after: float) -> str:
    return f"{(after - before) / before:+.0%}" if before else "from nothing"


def _doubts(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    found = []
    for which, report in (("before", before), ("after", after)):
        if report["void"]:
            found.append(f"the run {which} is void: {'; '.join(report['void'])}")
    if before["machine"]["class"] != after["machine"]["class"]:
        found.append(f"other machines: {before['machine']['class']} and {after['machine']['class']}")
    if before["form"] != after["form"]:
        found.append(f"other forms: {before['form']} and {after['form']}")
    return found
