"""The cases by name, in the order of a run. Each asks for a running stream, or for none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.bench import Bench
from benchmarks.cases import backlog, calm, commands, growth, latency


@dataclass(frozen=True)
class Case:
    """What is measured, and how a run treats it."""

    measure: Callable[[Bench], None]
    fresh: bool = False
    """Whether it begins on empty tables."""
    once: bool = False
    """Whether it is too long to be repeated, or repeats within itself."""


CASES: dict[str, Case] = {
    "backlog_labs": Case(backlog.labs, fresh=True),
    "backlog_admissions": Case(backlog.admissions, fresh=True),
    "backlog_mix": Case(backlog.mix, fresh=True),
    "replay": Case(backlog.replay, fresh=True),
    "latency": Case(latency.at_rates),
    "quiet": Case(latency.after_quiet, once=True),
    "idle": Case(calm.idle),
    "beside_backlog": Case(latency.beside_backlog),
    "cold_start": Case(commands.cold_start),
    "verify": Case(commands.verify),
    "rebuild": Case(commands.rebuild),
    "daily": Case(commands.daily),
    "growth": Case(growth.growth, fresh=True, once=True),
}
