"""The stream: one Python process with Spark's JVM as its child. What it does is in wardstream/stream and spark_jobs."""

from __future__ import annotations

import importlib.metadata
import sys

from wardstream.settings import PROJECT_ROOT, Settings, memory_bytes
from wardstream.stack.env import base_environment, stream_environment
from wardstream.stack.errors import StackError
from wardstream.stack.part import GIB, Launch, Page, Part
from wardstream.stream.lease import EXIT_FENCED

NAME = "stream"
BYTES_AN_EVENT = 16 * 1024
"""What the driver's Python may need for each event of a batch: Arrow tables, and the rows made of them."""

# A batch takes memory and gives it back: kept, it is not asked of the kernel page by page again, a third of judging.
# And what few sums Arrow leaves to OpenBLAS need no threads, which would wait spinning.
KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(256 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(512 << 20),
    "MIMALLOC_PURGE_DELAY": "-1",
    "OPENBLAS_NUM_THREADS": "1",
}


class Stream(Part):
    """What moves the events."""

    name = NAME
    ports = ("metrics_port",)
    needs = ("jars", "postgres", "kafka", "registry", "migrate", "topics", "schemas")
    jars = ("spark",)
    ready_seconds = 120.0
    stop_seconds = 60  # it finishes its batch
    last_exit_code = EXIT_FENCED  # another driver is alive: to restart it would only repeat that

    def most_memory(self, settings: Settings) -> int:
        """What its JVM may have as heap, twice that of a batch in Python, and room for both processes."""
        return memory_bytes(settings.stream_driver_memory) + settings.stream_max_offsets * BYTES_AN_EVENT + 2 * GIB

    def version(self) -> str:
        """Spark's."""
        return importlib.metadata.version("pyspark")

    def launch(self, settings: Settings) -> Launch:
        """Its command."""
        java = {"PATH": base_environment(settings, with_java=True)["PATH"]}
        argv = [sys.executable, "-m", "spark_jobs.stream"]
        return Launch(argv, cwd=PROJECT_ROOT, env=KEEP_MEMORY | stream_environment(settings) | java)

    def ready(self, settings: Settings) -> bool:
        """Whether the stream that the process manager runs is ready (not one that was just killed) or waits on purpose.

        StackError where it is blocked: it will not become ready before somebody has decided something.
        """
        from wardstream.database.connection import connect
        from wardstream.stack import manager  # late: it needs the list of all parts
        from wardstream.stream.start import BLOCKED_RUNBOOK
        from wardstream.watch.status import read_purpose, read_status

        pid = manager.pid_of(settings, NAME)
        with connect(settings.writer_url, "wardstream status") as conn:
            status, purpose = read_status(conn), read_purpose(conn)
        if status is not None and status.pid == pid and status.state == "blocked":
            raise StackError(NAME, f"it is blocked: {status.blocked_by}", f"less {BLOCKED_RUNBOOK}")
        runs = status is not None and status.ready and status.pid == pid
        return runs or (purpose is not None and purpose.waits_on_purpose(pid))

    def started(self, settings: Settings) -> str:
        """Why it waits, where it does: somebody asked for it, and `up` does not overrule that."""
        from wardstream.stack import manager
        from wardstream.watch.status import stream_purpose

        purpose = stream_purpose(settings)
        if purpose is None or not purpose.waits_on_purpose(manager.pid_of(settings, NAME)):
            return ""
        turn = purpose.turn
        since = f"{turn.requested_at:%Y-%m-%d %H:%M:%S} UTC"
        return f"waits, {turn.desired} as {turn.requested_by} asked at {since}; `wardstream stream start` starts it"

    def page(self, settings: Settings) -> Page | None:
        """Its metrics."""
        if not settings.metrics_port:
            return None
        return Page("metrics, for Prometheus", f"http://127.0.0.1:{settings.metrics_port}/metrics")


PARTS = [Stream()]
