"""Figures: a name, a unit, one value a repetition, whether more of it is better; and their arithmetic."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Better = Literal["higher", "lower", "neither"]


@dataclass
class Figure:
    """One measured thing."""

    unit: str
    better: Better
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The middle of the repetitions."""
        return statistics.median(self.values)

    def as_dict(self) -> dict[str, Any]:
        """For the report."""
        return {"median": rounded(self.median), "unit": self.unit, "better": self.better, "values": self.values}


class Figures:
    """The figures of a run by name, such as `backlog_labs.events_per_second`."""

    def __init__(self) -> None:
        self.by_name: dict[str, Figure] = {}

    def add(self, name: str, value: float, unit: str, better: Better) -> None:
        """One more value of a figure."""
        figure = self.by_name.setdefault(name, Figure(unit, better))
        if (figure.unit, figure.better) != (unit, better):
            raise ValueError(f"{name} is {figure.unit}, {figure.better} and not {unit}, {better}")
        figure.values.append(rounded(value))

    def medians(self) -> dict[str, float]:
        """What comparisons and ratios are made of."""
        return {name: figure.median for name, figure in self.by_name.items()}

    def as_dict(self) -> dict[str, Any]:
        """For the report."""
        return {name: figure.as_dict() for name, figure in self.by_name.items()}


def rounded(value: float) -> float:
    """Five digits say all that a measurement knows."""
    return float(f"{value:.5g}")


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed (nearest rank)."""
    if not values or not 0 < share <= 1:
        raise ValueError("a quantile needs values, and a share in (0, 1]")
    ordered = sorted(values)
    rank = -(-len(ordered) * share // 1)  # rounded up
    return ordered[max(0, int(rank) - 1)]
