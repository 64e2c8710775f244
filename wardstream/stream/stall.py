"""When a stream that lives does nothing: events wait, and Spark hands over no batch."""

from __future__ import annotations

import time
from collections.abc import Callable


class Stall:
    """Measures how long events have waited without a batch. Whoever gets a batch, or sees none wait, says so."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._since = clock()

    def moved(self) -> None:
        """A batch came, or there is nothing to wait for."""
        self._since = self._clock()

    @property
    def lasts(self) -> bool:
        """Whether no batch came for longer than any takes."""
        return self._clock() - self._since > self.seconds
