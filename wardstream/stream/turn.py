"""Whether a driver should run now, and waiting until one should, without Spark, Arrow or a JVM.

The stream's process begins here and may stay here for days, so this module imports next to nothing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from wardstream.database.connection import Connection, beside, connect
from wardstream.settings import Settings

log = logging.getLogger(__name__)

STREAM = "main"
LOOK_SECONDS = 1.0
FRESH_SECONDS = 10.0
"""A sign of life older than this is not a fresh one."""


class ControlMissing(Exception):
    """ops.stream_control has no row for the stream: nobody has said whether it should run."""


@dataclass(frozen=True)
class Turn:
    """What ops.stream_control says to the stream's process; `wanted`: a driver should run now."""

    desired: str
    restarts: int
    requested_by: str
    requested_at: datetime
    drain_to: Mapping[str, Mapping[str, int]] | None
    wanted: bool

    def ends(self, began_under: int) -> str | None:
        """Why a driver that began under that number of restarts should leave now; None while it should go on."""
        if not self.wanted:
            return f"{self.desired} as asked by {self.requested_by}"
        if self.restarts > began_under:
            return f"restart as asked by {self.requested_by}"
        return None


def look(conn: Connection, stream: str) -> Turn:
    """The stream's turn as it is now; ControlMissing, or psycopg's UndefinedTable before the migration."""
    row = conn.execute(beside(__file__, "control/turn"), {"stream": stream}).fetchone()
    if row is None:
        raise ControlMissing(f"ops.stream_control has no row for stream {stream}; put one in, with desired 'running'")
    return Turn(*row)


def stop_on_signals(stop: threading.Event) -> None:
    """SIGTERM and SIGINT set the event from now on."""

    def on_signal(signum: int, _frame: Any) -> None:
        log.info("%s: a running batch is finished first", signal.Signals(signum).name)
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)


def wait_for_turn(settings: Settings, stream: str, stop: threading.Event) -> Turn | None:
    """Wait until a driver should run, saying so in ops.stream_control every second; None when `stop` was set first.

    A PostgreSQL that goes away while this waits is waited for; one that was never there is the caller's error.
    """
    conn: Connection | None = None
    said: datetime | None = None
    while not stop.is_set():
        try:
            conn = conn or connect(settings.writer_url, f"wardstream waiting {stream}")
            turn = look(conn, stream)
            if turn.wanted:
                conn.close()
                return turn
            _wait_visibly(conn, stream)
            if said != turn.requested_at:
                said = turn.requested_at
                log.info("%s as asked by %s at %s: waiting", turn.desired, turn.requested_by, turn.requested_at)
        except psycopg.OperationalError as error:
            if said is None:
                raise
            if conn is not None:
                log.warning("PostgreSQL does not answer (%s); still waiting", type(error).__name__)
            conn = None
        stop.wait(LOOK_SECONDS)
    if conn is not None:
        with contextlib.suppress(psycopg.Error):  # PostgreSQL may be away; the last sign of life grows old by itself
            _wait_no_more(conn, stream)
    return None


def _wait_visibly(conn: Connection, stream: str) -> None:
    conn.execute(
        "UPDATE ops.stream_control SET waiting_pid = %s, waiting_seen_at = clock_timestamp() WHERE stream = %s",
        [os.getpid(), stream],
    )


def _wait_no_more(conn: Connection, stream: str) -> None:
    conn.execute(
        "UPDATE ops.stream_control SET waiting_pid = NULL, waiting_seen_at = NULL"
        " WHERE stream = %s AND waiting_pid = %s",
        [stream, os.getpid()],
    )
