"""The targets: each a number made of figures of one run, what it must be and what it should become.

Ratios of one run hold on any machine of the same shape; the few absolute ones are those of docs/performance.md's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Medians = Mapping[str, float]
RATE, COMMIT = "events_per_second", "commit_us_per_event"


@dataclass(frozen=True)
class Target:
    """One line of the table."""

    name: str
    of: Callable[[Medians], float]
    """KeyError where the run has not the figures."""
    must: float
    aim: float
    good: Literal["at least", "at most"]
    unit: str = ""
    before: str = ""
    """What it was before this work began, as the issue says."""

    def holds(self, value: float, limit: float) -> bool:
        """Whether the value is on the good side of the limit."""
        return value >= limit if self.good == "at least" else value <= limit


def _against(case: str, peer: str) -> Callable[[Medians], float]:
    return lambda m: m[f"{case}.stream.{RATE}"] / m[f"{case}.{peer}.{RATE}"]


def _figure(name: str) -> Callable[[Medians], float]:
    return lambda m: m[name]


def _growth(m: Medians) -> float:
    return m["growth.10000000.us_per_event"] / m["growth.100000.us_per_event"]


def _commit(m: Medians) -> float:
    return m[f"backlog_labs.stream.{COMMIT}"] * m[f"backlog_labs.postgres_alone.{RATE}"] / 1e6


def _replay(m: Medians) -> float:
    return m[f"replay.again.{RATE}"] / m[f"replay.first_load.{RATE}"]


TARGETS = (
    Target(
        "labs backlog / plain consumer", _against("backlog_labs", "consumer_fastavro"), 1.2, 2, "at least", "", "0.28"
    ),
    Target(
        "labs backlog / consumer with Rust decoder",
        _against("backlog_labs", "consumer_rust"),
        0.4,
        0.7,
        "at least",
        "",
        "0.10",
    ),
    Target(
        "admissions backlog / plain consumer",
        _against("backlog_admissions", "consumer_fastavro"),
        0.8,
        1.5,
        "at least",
        "",
        "0.26",
    ),
    Target("cost per event at 10 M / 0.1 M rows", _growth, 1.4, 1.2, "at most", "", "3.2 at 2.6 M"),
    Target("commit per event / PostgreSQL alone", _commit, 3, 2, "at most", "", "4 to 14"),
    Target("latency p50 at 1,000/s", _figure("latency.1000.p50"), 250, 150, "at most", "ms", "803"),
    Target("latency p99 at 1,000/s", _figure("latency.1000.p99"), 600, 350, "at most", "ms", "1216"),
    Target("latency p99 at 5,000/s", _figure("latency.5000.p99"), 1500, 700, "at most", "ms", "does not keep up"),
    Target(
        "idle CPU a minute, stream and Kafka",
        _figure("idle.stream_and_kafka.cpu_per_minute"),
        4,
        2,
        "at most",
        "s",
        "15",
    ),
    Target("replay of what is known / first load", _replay, 1.5, 3, "at least"),
    Target("verify, first time", _figure(f"verify.first.{RATE}"), 15_000, 30_000, "at least", "events/s", "11000"),
    Target("verify, again", _figure(f"verify.again.{RATE}"), 150_000, 500_000, "at least", "events/s"),
    Target("first event after a quiet minute, p99", _figure("quiet.p99"), 1000, 1000, "at most", "ms"),
    Target(
        "admissions beside waiting labs, p95", _figure("beside_backlog.p95"), 3000, 3000, "at most", "ms", "50 s p50"
    ),
)


def evaluate(medians: Medians) -> list[dict[str, Any]]:
    """Every target with its value in this run; value and verdicts are None where the run has not the figures."""
    found = []
    for target in TARGETS:
        value: float | None
        try:
            value = target.of(medians)
        except KeyError:
            value = None
        found.append(
            {
                "name": target.name,
                "value": None if value is None else round(value, 3),
                "unit": target.unit,
                "must": target.must,
                "aim": target.aim,
                "good": target.good,
                "before": target.before,
                "holds": None if value is None else target.holds(value, target.must),
                "reaches_aim": None if value is None else target.holds(value, target.aim),
            }
        )
    return found
