"""How much a run does: the long form that docs/performance.md shows, the short one for everybody, one for a test."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Form:
    """Sizes and repetitions of the cases; a case that is not in `cases` is left out."""

    name: str
    cases: tuple[str, ...]
    peers: tuple[str, ...]
    repetitions: int
    batch: int
    """Most events in one batch, of the stream and of the peers."""
    backlog: int
    """Events of a backlog of one topic, and of the mix."""
    few: int
    """Events that the slow peers get: the first ones of the same messages."""
    replayed: int
    """Events that are loaded first and then sent again."""
    rates: tuple[int, ...]
    paced_seconds: float
    warm_seconds: float
    """Of the paced seconds the first ones, which are not counted."""
    quiet_seconds: float
    quiet_times: int
    idle_seconds: float
    waiting: int
    """Labs that wait while admissions come at one a second."""
    grown: tuple[int, ...]
    """Numbers of stored rows at which the cost of a commit is looked at."""
    window: int
    """Events from which the cost at one of these numbers is taken."""
    growth_minutes: float
    """After so long the growth ends with the numbers reached by then."""


PEERS = ("consumer_fastavro", "consumer_rust", "postgres_alone", "spark_jdbc", "tutorial")
ALL_CASES = (
    "backlog_labs",
    "backlog_admissions",
    "backlog_mix",
    "replay",
    "latency",
    "quiet",
    "idle",
    "beside_backlog",
    "cold_start",
    "verify",
    "rebuild",
    "daily",
    "growth",
)

LONG = Form(
    name="long",
    cases=ALL_CASES,
    peers=PEERS,
    repetitions=3,
    batch=50_000,
    backlog=1_000_000,
    few=100_000,
    replayed=500_000,
    rates=(200, 1_000, 5_000),
    paced_seconds=90,
    warm_seconds=30,
    quiet_seconds=60,
    quiet_times=10,
    idle_seconds=60,
    waiting=400_000,
    grown=(100_000, 1_000_000, 5_000_000, 10_000_000),
    window=250_000,
    growth_minutes=90,
)

SHORT = Form(
    name="short",
    cases=("backlog_labs", "latency", "idle", "verify"),
    peers=("consumer_fastavro", "consumer_rust", "postgres_alone", "tutorial"),
    repetitions=1,
    batch=50_000,
    backlog=120_000,
    few=10_000,
    replayed=50_000,
    rates=(1_000,),
    paced_seconds=12,
    warm_seconds=4,
    quiet_seconds=10,
    quiet_times=1,
    idle_seconds=8,
    waiting=50_000,
    grown=(50_000, 100_000),
    window=50_000,
    growth_minutes=2,
)

TINY = Form(
    name="tiny",
    cases=("backlog_labs",),
    peers=("consumer_fastavro",),
    repetitions=1,
    batch=1_000,
    backlog=3_000,
    few=1_000,
    replayed=1_000,
    rates=(100,),
    paced_seconds=3,
    warm_seconds=1,
    quiet_seconds=1,
    quiet_times=1,
    idle_seconds=2,
    waiting=1_000,
    grown=(1_000,),
    window=1_000,
    growth_minutes=1,
)

FORMS = {form.name: form for form in (LONG, SHORT, TINY)}
