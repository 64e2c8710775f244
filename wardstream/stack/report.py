"""What `wardstream status` shows: one row a part, from the process manager and from the parts themselves."""

from __future__ import annotations

import importlib.metadata
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import psycopg
from confluent_kafka import KafkaException

from wardstream.broker import TopicMissing
from wardstream.contracts.model import ContractError
from wardstream.settings import Settings
from wardstream.stack import manager
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
    return MODULES[part].version()


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


def _lag_now(settings: Settings) -> int | None:
    from wardstream.stream.lag import lag_now, total

    try:
        return total(lag_now(settings))
    except (psycopg.Error, KafkaException, TopicMissing, ContractError):
        return None


def _with_stream(settings: Settings, row: Row, running: bool) -> Row:
    from wardstream.stream.status import stream_purpose, stream_status

    try:
        status, purpose = stream_status(settings), stream_purpose(settings)
    except (psycopg.Error, FileNotFoundError):
        return row
    state, healthy = row.state, False
    if running:
        # "running" for the process manager is only "has a process"; ops says what the driver does
        state = "starting"
        if purpose is not None and row.pid is not None and purpose.waiting_pid == row.pid:
            healthy = purpose.waits_on_purpose(row.pid)
            state = purpose.turn.desired if healthy else "waiting"
        elif status is not None and status.pid == row.pid:
            healthy = status.ready
            leaving = {"drained": "draining", "stopped": "stopping"}
            state = leaving.get(purpose.turn.desired, status.state) if purpose else status.state
    found = {**asdict(row), "state": state, "healthy": healthy}
    if status is not None:
        age = status.last_commit_age_s
        found |= {
            "lag": status.lag if status.ready else _lag_now(settings),
            "last_commit_age_s": None if age is None else round(age, 1),
            "generation": status.generation,
        }
    return Row(**found)
