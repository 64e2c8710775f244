"""Logging of every process: one line an event, UTC, to standard error; never patient data.

What may be logged: topics, partitions, offsets, counts, reason codes, generations, process ids. Values of events,
keys of messages and texts of PostgreSQL errors that quote them may not.
"""

from __future__ import annotations

import logging
import sys
import time


def configure_logging(level: int = logging.INFO) -> None:
    """Send the log of this process to standard error; times are UTC."""
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in ("yoyo", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # it logs its traceback and raises as well: who calls it says what that means
    logging.getLogger("py4j").setLevel(logging.CRITICAL)
