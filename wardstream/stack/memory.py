"""How much memory each part has, with all that it started: the stream's JVM, Airflow's tasks, PostgreSQL's sessions.

Counted is PSS (proportional set size): what a process has for itself, and of what it shares its share, so that the
parts add up. Where the kernel shows nobody's PSS it is RSS, in which PostgreSQL's shared buffers count once a session.
"""

from __future__ import annotations

import contextlib
import os

import psutil

from wardstream.settings import Settings
from wardstream.stack.config import MEMORY_GUARD
from wardstream.stack.launch import Process, members, processes
from wardstream.stack.manager import marker
from wardstream.stack.memory_guard import process_memory
from wardstream.stack.parts import PARTS
from wardstream.stack.paths import life_file


def memory_by_part(settings: Settings) -> dict[str, int]:
    """Bytes by part, of those that run on this machine; `manager` is the process manager with its memory guard."""
    seen = processes()
    found = {part.name: part_memory(settings, part.name, seen) for part in PARTS}
    with contextlib.suppress(OSError, ValueError, psutil.Error):
        # by its file and not by asking it: it may be busy, and who looks must not wait
        pid = int((settings.state_dir / "run" / "manager.pid").read_text())
        if str(settings.state_dir / "run" / "manager.conf") in psutil.Process(pid).cmdline():
            found["manager"] = process_memory(pid) + part_memory(settings, MEMORY_GUARD, seen)
    return {part: size for part, size in found.items() if size}


def part_memory(settings: Settings, part: str, seen: dict[int, Process]) -> int:
    """Bytes of a part's whole process family; 0 where none of it runs on this machine."""
    mark = marker(settings, part)
    pids = members(life_file(settings, part), mark, seen)
    if os.environ.get("WARDSTREAM_PART") == mark:
        pids.append(os.getpid())  # we are of it, and `members` leaves us out
    return sum(map(process_memory, pids))
