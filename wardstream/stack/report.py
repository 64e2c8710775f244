"""What `wardstream status` shows: one row a part, from the process manager and from the parts themselves; the stream's
figures by topic; and what all of it takes of this machine's memory. How it looks is in `show`."""

from __future__ import annotations

import http.client
import xmlrpc.client
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import psycopg

from wardstream.settings import Settings
from wardstream.stack import manager
from wardstream.stack.errors import StackError
from wardstream.stack.memory import memory_by_part
from wardstream.stack.part import Part
from wardstream.stack.parts import PARTS, embedded, stream
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


def present(settings: Settings, running: Iterable[str]) -> list[Part]:
    """The parts that are to run here, and those optional ones that do run, whoever turned them on."""
    here = embedded(settings)
    return [part for part in PARTS if part in here or (part.optional and part.name in running)]


def report(settings: Settings) -> Report:
    """Look at everything: all parts that run here, in the order of their list, then the servers elsewhere."""
    states = _states(settings)
    here = present(settings, (name for name, state in states.items() if state.name in manager.ALIVE))
    others = [part for part in PARTS if part.elsewhere(settings)]
    with ThreadPoolExecutor(len(here) + len(others) + 3) as pool:
        found = pool.submit(_figures, settings)
        wrong = pool.submit(findings_now, settings)
        memory = pool.submit(memory_by_part, settings)
        # of the stream the figures say how it is
        health = {part.name: pool.submit(_ready, settings, part) for part in here if part.name != stream.NAME}
        answers = {part.name: pool.submit(part.answers_elsewhere, settings) for part in others}
        seen, sizes = found.result(), memory.result()
        rows = [
            _row(
                settings,
                part,
                states.get(part.name),
                sizes.get(part.name),
                seen,
                part.name in health and health[part.name].result(),
            )
            for part in here
        ]
    rows += [
        Row(part.server, "elsewhere", answers[part.name].result(), address=part.elsewhere(settings)) for part in others
    ]
    return Report(
        parts=rows,
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


def _ready(settings: Settings, part: Part) -> bool:
    try:
        return part.ready(settings)
    except (StackError, FileNotFoundError):
        return False


def _figures(settings: Settings) -> Figures | None:
    try:
        return figures(settings)
    except (psycopg.Error, FileNotFoundError):
        return None


def _row(
    settings: Settings, part: Part, state: manager.State | None, memory: int | None, seen: Figures | None, ready: bool
) -> Row:
    name = state.name.lower() if state else "stopped"
    row = Row(
        part=part.name,
        # an exit by itself that is not started again, or starts that failed too often
        state={"exited": "ended", "fatal": "failed", "backoff": "restarting"}.get(name, name),
        healthy=name == "running" and ready,
        pid=state.pid if state and state.pid else None,
        port=part.port(settings),
        version=part.version(),
        uptime_s=round(state.uptime, 1) if state and state.pid else None,
        memory_bytes=memory,
    )
    return _with_stream(row, seen) if part.name == stream.NAME and seen else row


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
