"""Growth: what an event costs when so many rows are stored already. A window of events at each number, the way there
is not counted."""

from __future__ import annotations

import time

from benchmarks import ledger, publish
from benchmarks.bench import Bench
from benchmarks.cases.backlog import drain
from benchmarks.messages import MAKERS

CHUNK = 500_000


def growth(bench: Bench) -> None:
    """Labs, to each of the form's numbers in turn, as far as its minutes go."""
    deadline = time.monotonic() + 60 * bench.form.growth_minutes
    stored = 0
    for target in bench.form.grown:
        try:
            stored = _fill(bench, stored, target, deadline)
        except ledger.TooSlow:
            bench.say(f"  growth: {target:,} rows were not reached in {bench.form.growth_minutes:g} minutes")
            return
        bench.stack.drained()
        run = bench.events_of(f"growth-at-{target}")
        sent = publish.backlog(bench.stack.settings, MAKERS["labs"](run, bench.form.window))
        found = drain(bench, sent.extents)
        stored += found.stored
        bench.add(f"growth.{target}.commit_us_per_event", found.steady.commit_us_per_event, "us", "lower")
        if found.steady.events:
            cost = 1e6 / found.steady.events_per_second
            bench.add(f"growth.{target}.us_per_event", cost, "us", "lower")


def _fill(bench: Bench, stored: int, target: int, deadline: float) -> int:
    """Publish while the stream commits; gives how many rows are stored. TooSlow after the deadline."""
    if stored >= target:
        return stored
    bench.stack.let_run()
    while stored < target:
        count = min(CHUNK, target - stored)
        run = bench.events_of(f"growth-fill-{stored}")
        sent = publish.backlog(bench.stack.settings, MAKERS["labs"](run, count))
        ledger.wait_for(bench.stack, sent.extents, max(0.0, deadline - time.monotonic()))
        stored += count
    return stored
