"""The stack of a run: folder and ports of its own, driven by this clone's `wardstream` command, gone at the end."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from wardstream.database.connection import connect
from wardstream.settings import PROJECT_ROOT, Settings
from wardstream.stack.env import environment
from wardstream.stack.parts import PARTS, postgres

PORTS = [name for part in PARTS for name in part.ports]
ELSEWHERE = ("kafka_bootstrap_servers", "schema_registry_url", "database_url", "owner_database_url")
COMMAND_SECONDS = 3600.0
OPEN = range(20_000, 32_000)
"""Below the ports that systems give to outgoing connections: such a one may take a server's port while it is down."""


class CommandFailed(RuntimeError):
    """A `wardstream` command ended with another code than 0."""


def free_ports(count: int, among: Sequence[int] = OPEN) -> list[int]:
    """Ports nobody listens on, all different because all are held while choosing."""
    with contextlib.ExitStack() as held:
        chosen: list[int] = []
        for port in random.sample(among, min(1_000, len(among))):
            probe = held.enter_context(socket.socket())
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                chosen.append(port)
            if len(chosen) == count:
                return chosen
    raise RuntimeError("no free ports")


def own_settings(folder: Path, among: Sequence[int] = OPEN, **changes: Any) -> Settings:
    """Settings of a stack that shares nothing with another but the cache of jars; without Airflow unless asked for."""
    values: dict[str, Any] = dict(zip(PORTS, free_ports(len(PORTS), among), strict=True))
    values |= {**dict.fromkeys(ELSEWHERE, ""), "airflow": False, **changes}
    return Settings(state_dir=folder / "state", **values)


class OwnStack:
    """A running stack and what the cases ask of it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._streaming = False

    def let_run(self) -> None:
        """Ask for the stream: what Kafka holds is committed as soon as it is there."""
        self.ward("stream", "start", "--no-wait")
        self._streaming = True

    def running(self) -> None:
        """Wait until the stream runs."""
        self._streaming = True
        self.ward("stream", "start")

    def drained(self) -> None:
        """Let no stream run, and no JVM of it; all that Kafka holds is committed before."""
        if self._streaming:
            self.ward("stream", "drain")
            self._streaming = False

    def ward(self, *words: str) -> str:
        """Run `wardstream …` to its end; gives what it printed. CommandFailed with the end of what it said."""
        done = subprocess.run(
            [sys.executable, "-m", "wardstream.cli", *words],
            cwd=PROJECT_ROOT,
            env={**os.environ, **environment(self.settings)},
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
            start_new_session=True,  # Ctrl-C is for us: we stop the stack, whatever the command was doing
        )
        if done.returncode:
            said = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
            raise CommandFailed(f"wardstream {' '.join(words)}: exit code {done.returncode}\n{said}")
        return done.stdout

    def begin(self) -> None:
        """Start on an empty folder, with the times of commits kept, as latency needs them."""
        postgres.prepare(self.settings)  # the cluster alone: PostgreSQL takes this setting at its start only
        with (postgres.home(self.settings) / "data" / "postgresql.auto.conf").open("a") as file:
            file.write("track_commit_timestamp = on\n")
        self.ward("up", "--no-stream")
        self.ward("stream", "stop", "--no-wait")  # so that its process waits, without a JVM
        self.ward("up")
        self._streaming = False

    def fresh(self) -> None:
        """Empty tables, empty topics."""
        self.ward("reset", "--yes")
        self.begin()

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """All rows of a query, as the owner."""
        with connect(self.settings.owner_url, "benchmarks") as conn:
            return conn.execute(query.encode(), list(parameters) or None).fetchall()

    def checkpoint(self) -> None:
        """So that no case writes what another one left."""
        with postgres.connect(self.settings) as conn:
            conn.execute("CHECKPOINT")

    def wal_bytes(self) -> int:
        """Where the write-ahead log ends; the difference of two is what was written."""
        return int(self.rows("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')")[0][0])


@contextlib.contextmanager
def own_stack(folder: Path | None = None, **changes: Any) -> Iterator[OwnStack]:
    """A stack in a temporary folder (below `folder`) with these settings changed; stopped and deleted at the end."""
    with tempfile.TemporaryDirectory(prefix="wardstream-bench-", dir=folder, ignore_cleanup_errors=True) as name:
        stack = OwnStack(own_settings(Path(name), **changes))
        try:
            yield stack
        finally:
            with _uninterrupted():
                stack.ward("reset", "--yes")


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """A second Ctrl-C must not leave servers running."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_on_sigterm() -> None:
    """SIGTERM ends the run as Ctrl-C does, so that it cleans up."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
