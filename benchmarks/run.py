"""A run: a stack, the cases of a form in their order, a calibration loop around each, and the report."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import machine, peer_runs, report
from benchmarks.bench import Bench
from benchmarks.cases import CASES, Case
from benchmarks.forms import Form
from benchmarks.messages import Run
from benchmarks.own_stack import CommandFailed, OwnStack, own_stack
from benchmarks.usage import PeakMemory
from wardstream.settings import PROJECT_ROOT

EXPECTED = (RuntimeError, TimeoutError, psycopg.Error, subprocess.TimeoutExpired)
"""What ends a case and not the run."""


def new_run() -> Run:
    """A name that no run had, and this moment."""
    now = datetime.now(UTC)
    return Run(f"{now:%Y%m%dT%H%M%S}-{os.getpid()}", int(now.timestamp() * 1e6))


def run(form: Form, say: Callable[[str], None], folder: Path | None = None) -> dict[str, Any]:
    """Measure; gives the report. The stack lies in a temporary folder (below `folder`), and is gone afterwards."""
    say(f"benchmark, {form.name} form: {', '.join(form.cases)}")
    with own_stack(folder, stream_max_offsets=form.batch) as stack:
        peer_runs.install(stack.settings, say)
        say("starting a stack of its own")
        stack.begin()
        bench = Bench(stack, form, new_run(), say)
        with PeakMemory(stack.settings) as memory:
            calibration, failures = _measure(bench)
        for part, size in sorted(memory.by_part.items()):
            bench.add(f"memory.{part}.peak", size / 2**20, "MiB", "lower")
        bench.add("memory.all.peak", memory.total / 2**20, "MiB", "lower")
    best = min([each[when] for each in calibration for when in ("before", "after")], default=0.0)
    warnings = [
        line
        for each in calibration
        for line in machine.warnings(each["case"], each["before"], each["after"], best, each["load"])
    ]
    return report.assemble(bench, calibration, warnings, failures)


def _measure(bench: Bench) -> tuple[list[dict[str, Any]], list[str]]:
    """Every case of the form, with its repetitions; what the calibration loop said, and which cases failed and why."""
    calibration: list[dict[str, Any]] = []
    failures: list[str] = []
    used = False
    for name in bench.form.cases:
        case = CASES[name]
        for repetition in range(1 if case.once else bench.form.repetitions):
            bench.repetition = repetition
            bench.say(f"{name}, {repetition + 1} of {1 if case.once else bench.form.repetitions}")
            try:
                if case.fresh and used:
                    bench.stack.fresh()
                calibration.append(_calibrated(name, case, bench))
            except EXPECTED as error:
                failures.append(f"{name}: {type(error).__name__}: {error}")
                bench.say(f"  failed: {failures[-1]}")
                _calm_down(bench.stack)
            used = True
    return calibration, failures


def _calibrated(name: str, case: Case, bench: Bench) -> dict[str, Any]:
    load, before, began = os.getloadavg()[0], machine.calibrate(), time.monotonic()
    case.measure(bench)
    seconds = time.monotonic() - began
    return {"case": name, "load": load, "before": before, "after": machine.calibrate(), "seconds": round(seconds, 1)}


def _calm_down(stack: OwnStack) -> None:
    """After a case that failed: the next one begins with a drained stream, if that can be."""
    try:
        stack.drained()
    except CommandFailed:
        stack.fresh()


def plot(found: Path, settings_python: str, say: Callable[[str], None]) -> None:
    """Plots beside a report, drawn in the benchmark's environment; the report counts without them, too."""
    command = [settings_python, "-m", "benchmarks.plots", str(found), str(found.parent)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, check=False)
    say(done.stdout.strip() if not done.returncode else f"no plots: {done.stderr.strip().splitlines()[-1]}")
