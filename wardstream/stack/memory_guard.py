"""Ends a part that takes more memory than its limit; the process manager then restarts it, as after any other end.

An event listener of supervisord, run as a file through launch.py: every few seconds it looks at the parts that
`manager.start` described in `run`. Not superlance's memmon: that one adds up RSS, in which PostgreSQL's shared buffers
count once a session, and knows of a part's processes only those that still have their parent. Standard library and
supervisor alone, since it runs all the time on a small machine. What it says goes to `wardstream logs memory-guard`.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import signal
import sys
import time
from pathlib import Path
from typing import Any

MIB = 2**20


def resident(pid: int) -> int:
    """Bytes in memory, what is shared with others included; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def process_memory(pid: int) -> int:
    """Bytes of one process: PSS (see memory.py) where it can be read, else RSS; 0 when it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return resident(pid)


class Guard:
    """Looks at the parts, and remembers which it has asked to end."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._asked: dict[str, tuple[int, float]] = {}
        """By part: the process that was asked to end, and until when it may take."""
        # as a file, since importing it from its package would load the whole stack
        self._launch = runpy.run_path(str(Path(__file__).with_name("launch.py")))

    def look(self) -> None:
        """Look at every part once."""
        self._seen = self._launch["processes"]()
        for file in sorted(self._run.glob("*.json")):
            # a part may be started or stopped at this very moment: then the next look sees it
            with contextlib.suppress(OSError, ValueError, KeyError):
                self._look_at(file.stem, json.loads(file.read_text()), file.with_suffix(".life"))

    def _look_at(self, part: str, spec: dict[str, Any], life: Path) -> None:
        limit = int(spec["memory_limit"])
        pids = self._launch["members"](life, spec["marker"], self._seen) if limit else []
        leader = int(json.loads(life.read_text())["session"]) if pids else 0
        if leader not in pids:
            return
        asked, deadline = self._asked.get(part, (0, 0.0))
        if asked == leader:
            if time.monotonic() > deadline:
                _signal(leader, signal.SIGKILL)
            return
        if sum(map(resident, pids)) <= limit:
            return  # PSS is never more
        size = sum(map(process_memory, pids))
        if size > limit:
            self._asked[part] = leader, time.monotonic() + spec["stop_seconds"]
            now = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
            sys.stderr.write(
                f"{now} WARNING {part} takes {size // MIB} MiB, more than its limit of {limit // MIB} MiB: it is"
                f" restarted; WARDSTREAM_MEMORY_LIMITS={part}=SIZE sets another limit\n"
            )
            sys.stderr.flush()
            _signal(leader, spec["stop_signal"])


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def main(run: Path) -> None:
    """Look at each event, until the process manager is gone."""
    from supervisor.childutils import listener

    guard = Guard(run)
    while True:
        try:
            listener.wait()
        except KeyError:  # the end of its input: no header
            return
        guard.look()
        listener.ok()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
