"""Latency: milliseconds from produce() to the commit that makes an event readable, at several rates and occasions."""

from __future__ import annotations

import time

from benchmarks import ledger, publish
from benchmarks.bench import Bench
from benchmarks.figures import quantile
from benchmarks.messages import MAKERS
from benchmarks.publish import Extent, Paced, PacedSender

SECONDS = 1800.0
SETTLE_SECONDS = 3.0
MOST_BESIDE = 600
"""Admissions beside waiting labs, at most."""


def at_rates(bench: Bench) -> None:
    """Labs at each of the form's rates, one after the other."""
    for rate in bench.form.rates:
        count = int(rate * bench.form.paced_seconds)
        messages = MAKERS["labs"](bench.events_of(f"latency-{rate}"), count)
        bench.stack.running()
        time.sleep(SETTLE_SECONDS)
        paced = publish.at_rate(bench.stack.settings, messages, rate)
        found = _ranges(bench, paced)
        name = f"latency.{rate}"
        _report(bench, name, ledger.latencies(found, paced, bench.form.warm_seconds))
        bench.add(f"{name}.achieved", paced.achieved, "events/s", "neither")
        bench.add(f"{name}.waiting_at_end", ledger.waiting_at_end(found, paced), "events", "lower")


def after_quiet(bench: Bench) -> None:
    """The first event after a quiet time, some times."""
    values = []
    messages = MAKERS["labs"](bench.events_of("quiet"), bench.form.quiet_times)
    bench.stack.running()
    for topic, event in messages:
        time.sleep(bench.form.quiet_seconds)
        sender = PacedSender(bench.stack.settings, topic)
        sender.send(sender.encoded(event))
        paced = sender.close()
        values += ledger.latencies(_ranges(bench, paced), paced)
    _report(bench, "quiet", values)


def beside_backlog(bench: Bench) -> None:
    """Admissions at one a second, from the first commit of a backlog of labs to its last."""
    settings = bench.stack.settings
    bench.stack.drained()
    waiting = publish.backlog(settings, MAKERS["labs"](bench.events_of("beside-labs"), bench.form.waiting))
    bench.stack.let_run()
    ledger.wait_for_first(bench.stack, waiting.extents, SECONDS)
    sender = PacedSender(settings, "admissions")
    began = time.monotonic()
    for number, (_, event) in enumerate(MAKERS["admissions"](bench.events_of("beside-admissions"), MOST_BESIDE)):
        sender.wait_until(began + number)
        sender.send(sender.encoded(event))
        if ledger.is_reached(bench.stack, waiting.extents):
            break
    paced = sender.close()
    found = _ranges(bench, paced)
    _report(bench, "beside_backlog", ledger.latencies(found, paced))


def _ranges(bench: Bench, paced: Paced) -> list[ledger.Range]:
    first, last = paced.produced[0][0], paced.produced[-1][0]
    ledger.wait_for(bench.stack, [Extent(paced.topic, first, last + 1)], SECONDS)
    return ledger.ranges(bench.stack, paced.topic, first, last + 1)


def _report(bench: Bench, name: str, values: list[float]) -> None:
    for percent in (50, 95, 99):
        bench.add(f"{name}.p{percent}", quantile(values, percent / 100), "ms", "lower")
    bench.add(f"{name}.events", len(values), "events", "neither")
