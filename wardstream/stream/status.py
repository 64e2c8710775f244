"""The stream as the database sees it: for `wardstream status`, for `up` waiting for it, and for tests."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from wardstream.database import connect
from wardstream.settings import Settings
from wardstream.stream.lease import Lag

STREAM = "main"
FRESH_SECONDS = 10.0


@dataclass(frozen=True)
class StreamStatus:
    """State of the stream; ages in seconds, lag in events not yet committed."""

    state: str
    generation: int
    pid: int
    heartbeat_age_s: float
    last_commit_age_s: float | None
    lag_by_partition: Lag

    @property
    def ready(self) -> bool:
        """Whether a driver runs its query and shows signs of life."""
        return self.state == "running" and self.heartbeat_age_s < FRESH_SECONDS

    @property
    def lag(self) -> int | None:
        """Events not yet committed over all partitions, None where it is not known."""
        if not self.lag_by_partition:
            return None
        return sum(sum(partitions.values()) for partitions in self.lag_by_partition.values())


def stream_status(settings: Settings, stream: str = STREAM) -> StreamStatus | None:
    """The stream's row in ops.streams, None where it never ran; psycopg.OperationalError without PostgreSQL."""
    with connect(settings.writer_url, "wardstream status") as conn:
        try:
            row = conn.execute(
                "SELECT state, generation, pid, extract(epoch FROM clock_timestamp() - heartbeat_at)::float8,"
                " extract(epoch FROM clock_timestamp() - last_commit_at)::float8, lag"
                " FROM ops.streams WHERE stream = %s",
                [stream],
            ).fetchone()
        except psycopg.errors.UndefinedTable:
            return None
    return StreamStatus(*row) if row else None
