"""What `wardstream status` shows: one row a part, from the process manager and from the parts themselves."""

from __future__ import annotations

import importlib.metadata
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import psycopg

from wardstream.settings import Settings
from wardstream.stack import kafka, manager, postgres, registry
from wardstream.stack.errors import StackError
from wardstream.stack.parts import embedded_parts, ports
from wardstream.stack.up import MODULES


@dataclass(frozen=True)
class Row:
    """One part as it is now."""

    part: str
    state: str
    healthy: bool
    pid: int | None
    port: int | None
    version: str
    uptime_s: float | None
    lag: int | None = None
    last_commit_age_s: float | None = None
    generation: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def version(part: str) -> str:
    """The pinned version of a part; the stream's is Spark's."""
    if part == "stream":
        return importlib.metadata.version("pyspark")
    return {"postgres": postgres, "kafka": kafka, "registry": registry}[part].version()  # type: ignore[no-any-return]


def rows(settings: Settings) -> list[Row]:
    """All parts that run here, in the order of their start."""
    states = manager.states(settings)
    parts = embedded_parts(settings)
    with ThreadPoolExecutor(len(parts)) as pool:
        return list(pool.map(lambda part: _row(settings, part, states.get(part)), parts))


def _row(settings: Settings, part: str, state: manager.State | None) -> Row:
    name = state.name.lower() if state else "stopped"
    running = state is not None and state.name == "RUNNING"
    row = Row(
        part=part,
        # an exit by itself that is not started again, or starts that failed too often
        state={"exited": "ended", "fatal": "failed", "backoff": "restarting"}.get(name, name),
        healthy=False,
        pid=state.pid if state and state.pid else None,
        port=next(iter(ports(settings, part).values()), None),
        version=version(part),
        uptime_s=round(state.uptime, 1) if state and state.pid else None,
    )
    if part == "stream":
        return _with_stream(settings, row, running)
    try:
        return Row(**{**asdict(row), "healthy": running and bool(MODULES[part].ready(settings))})
    except (StackError, FileNotFoundError):
        return row


def _with_stream(settings: Settings, row: Row, running: bool) -> Row:
    from wardstream.stream.status import stream_status

    try:
        status = stream_status(settings)
    except (psycopg.Error, FileNotFoundError):
        return row
    if status is None:
        return row
    return Row(
        **{
            **asdict(row),
            # "running" for the process manager is only "has a process"; ops says what the driver does
            "state": status.state if running and status.pid == row.pid else row.state if not running else "starting",
            "healthy": running and status.ready and status.pid == row.pid,
            "lag": status.lag,
            "last_commit_age_s": None if status.last_commit_age_s is None else round(status.last_commit_age_s, 1),
            "generation": status.generation,
        }
    )
