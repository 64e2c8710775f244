"""Turns itself into a part of the stack; run by the process manager, as a file, with nothing but the standard library.

It reads the command from the file that `manager.start` wrote, ends what the part's former life left behind, asks the
kernel to end it when the process manager dies (so a `kill -9` of the manager leaves no orphan), changes the user where
told to, and executes the command. It imports nothing of ours, so that a part that was killed is back as soon as
possible.

What a life is: every part leads a session of its own, which all that it starts stays in, whatever process groups are
made (Airflow makes one a task), except for what asks for a session itself (a BashOperator's shell): that is known by
WARDSTREAM_PART in its environment, which in turn those hide who write a title over it. Children belong to it as well.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

PR_SET_PDEATHSIG = 1
SETTLE_SECONDS = 5.0
END_SECONDS = 10.0
TRIES = 20
PROC = Path("/proc")
VARIABLE = b"WARDSTREAM_PART="


def main(file: Path) -> None:
    """Become the command that `file` describes; never returns."""
    spec = json.loads(file.read_text())
    _breathe(file, spec["pause"])
    life = file.with_suffix(".life")
    _end_all(life, spec["marker"])
    _begin_life(life)
    _step_back(spec["nice"])
    os.chdir(spec["cwd"])
    if spec["user"] is not None:
        uid, gid = spec["user"]
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    # after the change of user, which would clear it
    _end_with_manager(spec["orphan_signal"], spec["manager"])
    os.execve(spec["argv"][0], spec["argv"], {**spec["base"], **spec["env"], "WARDSTREAM_PART": spec["marker"]})  # noqa: S606


def _breathe(file: Path, pause: float) -> None:
    """Wait a little when the last start was a moment ago: a part that fails at once must not use up the machine."""
    last = file.with_suffix(".started")
    if pause and last.exists() and time.time() - last.stat().st_mtime < SETTLE_SECONDS:
        time.sleep(pause)
    last.touch()


def _begin_life(life: Path) -> None:
    # the process manager made us the leader of a group, and such a one may not begin a session: back to its group first
    with contextlib.suppress(PermissionError):
        os.setpgid(0, os.getpgid(os.getppid()))
        os.setsid()
    fresh = life.with_suffix(".fresh")
    fresh.write_text(json.dumps({"session": os.getpid(), "boot": _boot(), "started": _started(os.getpid())}))
    fresh.replace(life)


def _step_back(nice: int) -> None:
    if nice:
        os.nice(nice)
        # where Linux weighs sessions against each other, a process's own value counts within its session alone
        for _ in range(TRIES):
            try:
                (PROC / "self/autogroup").write_text(str(nice))
            except BlockingIOError:  # all ordinary users together may do it once in a tenth of a second
                time.sleep(0.11)
            except OSError:
                return
            else:
                return


def _boot() -> str:
    # a container's restart gives the same small numbers anew and keeps the machine's boot id: its init is another one
    try:
        return f"{(PROC / 'sys/kernel/random/boot_id').read_text().strip()} {_started(1)}"
    except OSError:
        return ""


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on: state, parent, group, session; empty when it is gone."""
    try:
        return (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _started(pid: int) -> str:
    return (_stat(pid) or [""] * 20)[19]


class Process(NamedTuple):
    """What is asked of a living process."""

    parent: int
    session: int
    started: int
    marker: bytes
    """The value of WARDSTREAM_PART in its environment; empty where it cannot be read."""


def processes() -> dict[int, Process]:
    """All living processes by number, from one look at /proc; none where there is no /proc."""
    found = {}
    for entry in PROC.iterdir() if PROC.is_dir() else []:
        stat = _stat(int(entry.name)) if entry.name.isdigit() else []
        if stat and stat[0] not in "ZX":
            found[int(entry.name)] = Process(int(stat[1]), int(stat[3]), int(stat[19]), _marker(entry))
    return found


def _marker(entry: Path) -> bytes:
    try:
        variables = (entry / "environ").read_bytes().split(b"\0")
    except OSError:
        return b""
    return next((each.removeprefix(VARIABLE) for each in variables if each.startswith(VARIABLE)), b"")


def members(life: Path, marker: str, seen: dict[int, Process] | None = None) -> list[int]:
    """The processes of a part's life by its file, parents first, without ourselves; `seen`: by an earlier look."""
    seen = processes() if seen is None else seen
    try:
        was: dict[str, Any] = json.loads(life.read_text())
    except (FileNotFoundError, ValueError):
        was = {}
    session = was.get("session") if was.get("boot") == _boot() else None
    if session is not None and _started(session) not in ("", was["started"]):
        session = None  # somebody else has this number now, which it cannot while a process of the session lives
    children: dict[int, list[int]] = {}
    for pid, process in seen.items():
        children.setdefault(process.parent, []).append(pid)
    found = [pid for pid, each in seen.items() if each.session == session or each.marker == marker.encode()]
    every: set[int] = set()
    while found:
        pid = found.pop()
        if pid not in every:
            every.add(pid)
            found += children.get(pid, [])
    return sorted(every - {os.getpid()}, key=lambda pid: (seen[pid].started, pid))


def _end_all(life: Path, marker: str) -> None:
    deadline = time.monotonic() + END_SECONDS
    while left := members(life, marker):
        if time.monotonic() > deadline:
            sys.exit(f"processes of the former life do not end: {left}")
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _end_with_manager(signal_number: int, manager: int) -> None:
    if sys.platform != "linux":
        return  # elsewhere `wardstream down` and the next `up` find what a killed manager left
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != manager:
        sys.exit("the process manager died while this part was starting")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
