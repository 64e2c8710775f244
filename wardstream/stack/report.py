"""What `wardstream status` shows: one row a part, from the process manager and from the parts themselves; the stream's
figures by topic; and what all of it takes of this machine's memory. How it looks is in `show`."""

from __future__ import annotations

import http.client
import importlib.metadata
import xmlrpc.client
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import psycopg

from wardstream.database.connection import connect
from wardstream.kafka.health import kafka_answers
from wardstream.registry.health import registry_answers
from wardstream.settings import Settings
from wardstream.stack import manager
from wardstream.stack.errors import StackError
from wardstream.stack.memory import memory_by_part
from wardstream.stack.parts import elsewhere, embedded_parts, ports
from wardstream.stack.up import MODULES
from wardstream.watch.figures import Figures, Quarantined, Topic, figures
from wardstream.watch.finding import Finding
from wardstream.watch.findings import findings_now
from wardstream.watch.status import shown


@dataclass(frozen=True)
class Row:
    """One part as it is now; of a server elsewhere, only where it is and whether it answers (`healthy`)."""

    part: str
    state: str
    healthy: bool
    pid: int | None = None
    port: int | None = None
    version: str | None = None
    uptime_s: float | None = None
    memory_bytes: int | None = None
    lag: int | None = None
    last_commit_age_s: float | None = None
    generation: int | None = None
    address: str | None = None
    """Host and port of a server elsewhere."""


@dataclass(frozen=True)
class Report:
    """All of it, at one moment. `memory_bytes` is that of the parts and of the process manager together."""

    parts: list[Row]
    topics: list[Topic]
    quarantine: list[Quarantined]
    quarantine_is_cut: bool
    memory_bytes: int
    blocked_by: str | None
    findings: list[Finding] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        """Whether all parts are running and well, and all servers elsewhere answer."""
        return all(row.healthy for row in self.parts)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`; times as ISO 8601, UTC."""
        return {
            **asdict(self),
            "quarantine": [{**asdict(of_one), "latest": of_one.latest.isoformat()} for of_one in self.quarantine],
            "findings": [{**asdict(one), "since": one.since and one.since.isoformat()} for one in self.findings],
        }


def version(part: str) -> str:
    """The pinned version of a part; the stream's is Spark's."""
    if part == "stream":
        return importlib.metadata.version("pyspark")
    return MODULES[part].version()


def report(settings: Settings) -> Report:
    """Look at everything: all parts that run here, in the order of their start, then the servers elsewhere."""
    states = _states(settings)
    parts, others = embedded_parts(settings), elsewhere(settings)
    with ThreadPoolExecutor(len(parts) + len(others) + 3) as pool:
        found = pool.submit(_figures, settings)
        wrong = pool.submit(findings_now, settings)
        memory = pool.submit(memory_by_part, settings)
        health = {part: pool.submit(_ready, settings, part) for part in parts if part != "stream"}
        answers = {part: pool.submit(ANSWERS[part], settings) for part in others}
        seen, sizes = found.result(), memory.result()
        here = [
            _row(settings, part, states.get(part), sizes.get(part), seen, part in health and health[part].result())
            for part in parts
        ]
    there = [Row(part, "elsewhere", answers[part].result(), address=address) for part, address in others.items()]
    return Report(
        parts=here + there,
        topics=seen.topics if seen else [],
        quarantine=seen.quarantine if seen else [],
        quarantine_is_cut=bool(seen and seen.quarantine_is_cut),
        memory_bytes=sum(sizes.values()),
        blocked_by=seen.status.blocked_by if seen and seen.status else None,
        findings=wrong.result(),
    )


def _states(settings: Settings) -> dict[str, manager.State]:
    try:
        return manager.states(settings)
    except (OSError, http.client.HTTPException, xmlrpc.client.Error):
        return {}  # it ended while it was asked


def _ready(settings: Settings, part: str) -> bool:
    try:
        return bool(MODULES[part].ready(settings))
    except (StackError, FileNotFoundError):
        return False


def _database_answers(settings: Settings) -> bool:
    try:
        with connect(settings.database_url, "wardstream status") as conn:
            conn.execute("SELECT 1")
    except psycopg.Error:
        return False
    return True


ANSWERS: dict[str, Callable[[Settings], bool]] = {
    "database": _database_answers,
    "kafka": lambda settings: kafka_answers(settings.kafka),
    "registry": lambda settings: registry_answers(settings.registry),
}


def _figures(settings: Settings) -> Figures | None:
    try:
        return figures(settings)
    except (psycopg.Error, FileNotFoundError):
        return None


def _row(
    settings: Settings, part: str, state: manager.State | None, memory: int | None, seen: Figures | None, ready: bool
) -> Row:
    name = state.name.lower() if state else "stopped"
    row = Row(
        part=part,
        # an exit by itself that is not started again, or starts that failed too often
        state={"exited": "ended", "fatal": "failed", "backoff": "restarting"}.get(name, name),
        healthy=name == "running" and ready,
        pid=state.pid if state and state.pid else None,
        port=next(iter(ports(settings, part).values()), None),
        version=version(part),
        uptime_s=round(state.uptime, 1) if state and state.pid else None,
        memory_bytes=memory,
    )
    return _with_stream(row, seen) if part == "stream" and seen else row


def _with_stream(row: Row, seen: Figures) -> Row:
    found = asdict(row)
    if row.state == "running":
        found["state"], found["healthy"] = shown(seen.status, seen.purpose, row.pid)
    if seen.status is not None:
        age = seen.status.last_commit_age_s
        found |= {
            "lag": seen.lag,
            "last_commit_age_s": None if age is None else round(age, 1),
            "generation": seen.status.generation,
        }
    return Row(**found)
