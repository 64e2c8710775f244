"""The stream as the database sees it: for `wardstream status`, for `up` waiting for it, and for tests."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from wardstream.database.connection import Connection, beside, connect
from wardstream.settings import Settings
from wardstream.stream.lag import Lag
from wardstream.stream.turn import FRESH_SECONDS, STREAM, ControlMissing, Turn, look


@dataclass(frozen=True)
class StreamStatus:
    """State of the stream; ages in seconds, lag in events not yet committed. `blocked_by`: why it does not begin."""

    state: str
    generation: int
    pid: int
    heartbeat_age_s: float
    last_commit_age_s: float | None
    lag_by_partition: Lag
    blocked_by: str | None = None

    @property
    def ready(self) -> bool:
        """Whether a driver runs its query and shows signs of life."""
        return self.state == "running" and self.heartbeat_age_s < FRESH_SECONDS


@dataclass(frozen=True)
class Purpose:
    """What the stream should do, and the process that waits for its turn, where one does."""

    turn: Turn
    waiting_pid: int | None

    def waits_on_purpose(self, pid: int | None) -> bool:
        """Whether this process waits and is meant to: nothing is to be done about it."""
        return pid is not None and pid == self.waiting_pid and not self.turn.wanted


def stream_purpose(settings: Settings, stream: str = STREAM) -> Purpose | None:
    """From ops.stream_control, None where it does not say; psycopg.OperationalError without PostgreSQL."""
    with connect(settings.writer_url, "wardstream status") as conn:
        return read_purpose(conn, stream)


def read_status(conn: Connection, stream: str = STREAM) -> StreamStatus | None:
    """The stream's row in ops.streams, None where it never ran."""
    try:
        row = conn.execute(beside(__file__, "stream"), {"stream": stream}).fetchone()
    except psycopg.errors.UndefinedTable:
        return None
    return StreamStatus(*row) if row else None


def read_purpose(conn: Connection, stream: str = STREAM) -> Purpose | None:
    """`stream_purpose` on a connection that is there."""
    try:
        turn = look(conn, stream)
    except (psycopg.errors.UndefinedTable, ControlMissing):
        return None
    # A process that has got its turn keeps its pid: then the heartbeat is the younger sign.
    row = conn.execute(
        "SELECT c.waiting_pid FROM ops.stream_control AS c LEFT JOIN ops.streams AS s USING (stream)"
        " WHERE c.stream = %s AND c.waiting_seen_at > clock_timestamp() - make_interval(secs => %s)"
        " AND c.waiting_seen_at > coalesce(s.heartbeat_at, '-infinity')",
        [stream, FRESH_SECONDS],
    ).fetchone()
    return Purpose(turn, row[0] if row else None)


def shown(status: StreamStatus | None, purpose: Purpose | None, pid: int | None) -> tuple[str, bool]:
    """What the stream's running process does, in a word, and whether that is as it should be.

    For the process manager, "running" is only "has a process"; what PostgreSQL has says what that process does.
    """
    if purpose is not None and pid is not None and purpose.waiting_pid == pid:
        on_purpose = purpose.waits_on_purpose(pid)
        return (purpose.turn.desired if on_purpose else "waiting"), on_purpose
    if status is not None and status.pid == pid:
        leaving = {"drained": "draining", "stopped": "stopping"}
        return (leaving.get(purpose.turn.desired, status.state) if purpose else status.state), status.ready
    return "starting", False
