"""The end of a job that no longer gets on: a step that takes far longer than it may ends the process with an error.

PostgreSQL ends statements that take too long, and Java notices a server that says nothing. Neither helps a session of
this process whose server is frozen: its kernel still answers, and libpq waits for ever. So a thread watches the clock.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from wardstream.daily.orphan import end_jvm

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0


class Deadline:
    """Says until when the present step may take. It watches once it was started, and ends the process."""

    def __init__(self) -> None:
        self._step: tuple[str, float, float] | None = None

    def start(self) -> None:
        """Begin to watch, until the process ends."""
        threading.Thread(target=self._watch, name="deadline", daemon=True).start()

    @contextmanager
    def within(self, seconds: float, what: str) -> Iterator[None]:
        """A step that may take so long; one within another has a time of its own, and the outer one its own again."""
        before = self._step
        self._step = (what, seconds, time.monotonic() + seconds)
        try:
            yield
        finally:
            self._step = before and (before[0], before[1], time.monotonic() + before[1])

    def _watch(self) -> None:
        while True:
            step = self._step
            if step is not None and time.monotonic() > step[2]:
                break
            time.sleep(LOOK_SECONDS)
        what, seconds, _ = step
        log.error(
            "%s: no end after %g s, so the job ends; days not yet put in place stay stale. Does PostgreSQL answer? "
            "`wardstream status`",
            what,
            seconds,
        )
        end_jvm()
        os._exit(1)
