"""Turns itself into a part of the stack; run by the process manager, as a file, with nothing but the standard library.

It reads the command from the file that `manager.start_part` wrote, asks the kernel to end it when the process manager
dies (so a `kill -9` of the manager leaves no orphan), changes the user where told to, and executes the command. It
imports nothing of ours, so that a part that was killed is back as soon as possible.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
SETTLE_SECONDS = 5.0


def main(file: Path) -> None:
    """Become the command that `file` describes; never returns."""
    spec = json.loads(file.read_text())
    _breathe(file, spec["pause"])
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


def _end_with_manager(signal_number: int, manager: int) -> None:
    if sys.platform != "linux":
        return  # elsewhere `wardstream down` and the next `up` find what a killed manager left
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != manager:
        sys.exit("the process manager died while this part was starting")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
