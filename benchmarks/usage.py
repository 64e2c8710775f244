"""CPU seconds and memory of the stack by part, from /proc.

CPU is the difference of two looks, not a sum of samples: a process counts its ended children, so nothing that ended in
between is lost.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from types import TracebackType

import psutil

from wardstream.settings import Settings
from wardstream.stack.launch import members, processes
from wardstream.stack.manager import marker
from wardstream.stack.memory import memory_by_part
from wardstream.stack.parts import PARTS
from wardstream.stack.paths import life_file

MEMORY_EVERY = 2.0


def cpu_by_part(settings: Settings) -> dict[str, float]:
    """CPU seconds that each part has used so far; of the stream, each kind of process by itself."""
    found: dict[str, float] = {}
    seen = processes()
    for part in PARTS:
        for pid in members(life_file(settings, part.name), marker(settings, part.name), seen):
            try:
                process = psutil.Process(pid)
                name, times = kind(part.name, process.cmdline()), process.cpu_times()
            except psutil.Error:
                continue
            found[name] = found.get(name, 0.0) + times.user + times.system + times.children_user + times.children_system
    return found


def kind(part: str, command: list[str]) -> str:
    """The name under which a process of a part is counted."""
    if part != "stream":
        return part
    words = " ".join(command)
    if "org.apache.spark.deploy" in words:
        return "stream_jvm"
    return "stream_python_worker" if "pyspark" in words and "daemon" in words else "stream_driver"


def used(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Seconds by part between two looks; a part that was started anew in between counts from its start."""
    found = {}
    for name, now in after.items():
        then = before.get(name, 0.0)
        found[name] = now - then if now >= then else now
    return found


class PeakMemory:
    """The most memory that all parts had together, and each by itself, while it looks; a context manager."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.total = 0
        self.by_part: Counter[str] = Counter()

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._end.wait(MEMORY_EVERY):
            now = memory_by_part(self._settings)
            self.total = max(self.total, sum(now.values()))
            self.by_part |= Counter(now)  # the greater of each
