"""A job whose starter was killed ends itself and its JVM; nobody is left to wait for what it would say.

spark-submit makes the chain starter (an Airflow task) -> JVM -> Python. kill -9 of the starter leaves the other two
alive, and the retry would work beside them. So Python watches: once its parent is another, or its parent's parent, it
ends the JVM and itself. Without spark-submit the JVM is Python's child and ends with it; nothing is watched then,
because a person's shell may well be left.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
GRACE_SECONDS = 2.0


def under_spark_submit() -> bool:
    """Whether a JVM started this Python; it says so by naming its gateway."""
    return "PYSPARK_GATEWAY_PORT" in os.environ


def parent_of(pid: int) -> int | None:
    """The parent of a process; None where there is no such process."""
    try:
        # "pid (name) state ppid …"; a name may hold spaces and parentheses
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


def end_with_starter() -> None:
    """Start the watch, where there is something to watch."""
    if under_spark_submit() and sys.platform == "linux":
        jvm = os.getppid()
        starter = parent_of(jvm)
        threading.Thread(target=_watch, args=(jvm, starter), name="orphan", daemon=True).start()


def _watch(jvm: int, starter: int | None) -> None:
    while os.getppid() == jvm and parent_of(jvm) == starter:
        time.sleep(LOOK_SECONDS)
    log.error("the process that started this job is gone; the job ends, days not yet put in place stay stale")
    end_jvm(jvm)
    os._exit(1)


def end_jvm(jvm: int | None = None) -> None:
    """End the JVM that started this Python; one that this Python started ends with it."""
    if not under_spark_submit():
        return
    jvm = jvm or os.getppid()
    for number in (signal.SIGTERM, signal.SIGKILL):
        if os.getppid() != jvm:  # gone, and its number may be another's
            break
        with contextlib.suppress(ProcessLookupError):
            os.kill(jvm, number)
        deadline = time.monotonic() + GRACE_SECONDS
        while os.getppid() == jvm and time.monotonic() < deadline:
            time.sleep(0.05)
