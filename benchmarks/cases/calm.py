"""What the stack costs while nothing happens."""

from __future__ import annotations

import time

from benchmarks.bench import Bench
from benchmarks.usage import cpu_by_part, used

SETTLE_SECONDS = 5.0


def idle(bench: Bench) -> None:
    """CPU seconds a minute by part, with the stream running and no event."""
    bench.stack.running()
    time.sleep(SETTLE_SECONDS)
    before, began = cpu_by_part(bench.stack.settings), time.monotonic()
    time.sleep(bench.form.idle_seconds)
    minutes = (time.monotonic() - began) / 60
    spent = used(before, cpu_by_part(bench.stack.settings))
    for part, seconds in sorted(spent.items()):
        bench.add(f"idle.{part}.cpu_per_minute", seconds / minutes, "s", "lower")
    chosen = sum(seconds for part, seconds in spent.items() if part == "kafka" or part.startswith("stream"))
    bench.add("idle.stream_and_kafka.cpu_per_minute", chosen / minutes, "s", "lower")
    bench.add("idle.all.cpu_per_minute", sum(spent.values()) / minutes, "s", "lower")
