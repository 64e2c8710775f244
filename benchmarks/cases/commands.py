"""The commands that people wait for, over what the cases before have stored."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from benchmarks.bench import Bench
from benchmarks.messages import SPAN_DAYS

ALL = "SELECT coalesce(sum(received), 0) FROM ops.ledger_ranges"
STORED = "SELECT coalesce(sum(stored), 0) FROM ops.ledger_ranges"


def _seconds(bench: Bench, *words: str) -> float:
    began = time.monotonic()
    bench.stack.ward(*words)
    return time.monotonic() - began


def cold_start(bench: Bench) -> None:
    """`wardstream up`, with data there and nothing running, until the stream is ready."""
    bench.stack.running()
    bench.stack.ward("down")
    bench.add("cold_start.seconds", _seconds(bench, "up"), "s", "lower")


def verify(bench: Bench) -> None:
    """`wardstream verify`, which must succeed: the first time, and when it has seen all of it before."""
    bench.stack.drained()
    events = int(bench.stack.rows(ALL)[0][0])
    for which in ("first", "again"):
        seconds = _seconds(bench, "verify")
        if which == "first" and bench.repetition:
            continue  # not the first time any more
        bench.add(f"verify.{which}.events_per_second", events / seconds, "events/s", "higher")


def rebuild(bench: Bench) -> None:
    """`wardstream rebuild` of a core that is as it should be."""
    bench.stack.drained()
    rows = int(bench.stack.rows(STORED)[0][0])
    bench.add("rebuild.events_per_second", rows / _seconds(bench, "rebuild"), "events/s", "higher")


def daily(bench: Bench) -> None:
    """`wardstream daily` of every day of the run's events; most of a small one is the start of Spark."""
    today = datetime.fromtimestamp(bench.run.now / 1e6, UTC).date()
    days = ["--first", str(today - timedelta(days=SPAN_DAYS + 2)), "--last", str(today)]
    bench.stack.drained()
    bench.add("daily.seconds", _seconds(bench, "daily", "--all-days", *days), "s", "lower")
