"""Logging of every process: one line an event, UTC, to standard error; never patient data.

What may be logged: topics, partitions, offsets, counts, reason codes, generations, process ids. Values of events,
keys of messages and texts of PostgreSQL errors that quote them may not.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

QUOTING = ("executor.Executor", "scheduler.TaskSetManager")
"""Spark's loggers that give the text of a task's error, with the value at fault in it."""


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


def keep_values_out(spark: SparkSession) -> None:
    """Switch off what quotes values in Spark's log and in PySpark's; whoever runs the query says what failed."""
    logging.getLogger("SQLQueryContextLogger").disabled = True
    log4j = spark._jvm.org.apache.logging.log4j
    for name in QUOTING:
        log4j.core.config.Configurator.setLevel(f"org.apache.spark.{name}", log4j.Level.OFF)
