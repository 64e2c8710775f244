"""One driver at a time: the session that holds the stream, the generation that fences older drivers, and the heartbeat.

A driver takes the stream when no session holds it (ops.stream_leases), or when the holder's heartbeat has stood still
for `stream_takeover_seconds`: then the holder's sessions are ended (a driver frozen inside COPY would keep its locks)
and the generation is raised under the commit lock, so that whatever the older driver still tries fails at its
compare-and-set. A second driver that sees the heartbeat move leaves with exit code 75, which the process manager
does not restart.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
from dataclasses import asdict
from datetime import datetime

import psycopg

from wardstream.database.connection import Connection, beside, connect, scalar
from wardstream.database.locks import lock_commits
from wardstream.settings import Settings
from wardstream.stream.held import HeldTopic, read_held
from wardstream.stream.lag import Lag

log = logging.getLogger(__name__)

EXIT_FENCED = 75
HEARTBEAT_SECONDS = 2.0
SESSIONS = ("lease", "ledger", "commit")
"""What a driver's own sessions are for: while PostgreSQL has one of them, there is a driver."""


def session_name(purpose: str, stream: str) -> str:
    """How a session of a stream's process calls itself in pg_stat_activity."""
    return f"wardstream {purpose} {stream}"


class AnotherDriver(Exception):
    """The stream has a living driver, or this one was replaced: leave with EXIT_FENCED."""


class LeaseGone(Exception):
    """The database does not know this driver's generation, as after a restore: start again, nobody else writes."""


class Lease:
    """The right to write a stream, held from `take` to the end of the process."""

    def __init__(self, settings: Settings, stream: str, stop_requested: threading.Event | None = None) -> None:
        self.settings = settings
        self.stream = stream
        self.stop_requested = stop_requested or threading.Event()
        self.generation = 0
        self.fruitless_starts = 0
        self.state = "starting"
        self.blocked_by: str | None = None
        self.lost: AnotherDriver | LeaseGone | None = None
        self.lag: Lag = {}
        self.behind_since: dict[str, str] = {}
        self.held: dict[str, HeldTopic] = {}
        self.caught_up_at: datetime | None = None
        self._conn = self._connect()
        self._sessions: dict[Connection, int] = {}
        self._registering = threading.Lock()  # batches and the heartbeat have threads of their own
        self._holds = False
        self._stop = threading.Event()
        self._news = threading.Event()

    def take(self, restarts: int = 0) -> int:
        """Wait until the stream is free or its driver is dead, then take the next generation.

        `restarts` is how many restarts had been asked for when this driver began. Raises AnotherDriver where a living
        driver's heartbeat is seen to move.
        """
        self._hold_or_leave()
        self._end_sessions_of_the_driver_before()
        with self._conn.transaction():
            lock_commits(self._conn)
            take = beside(__file__, "control/take")
            me = {"stream": self.stream, "pid": os.getpid(), "restarts": restarts}
            row = self._conn.execute(take, me).fetchone()
        assert row is not None
        self.generation, self.fruitless_starts, self.behind_since, held = row
        self.held = read_held(held)
        self._holds = True
        self.register(self._conn)
        log.info("generation %s of stream %s taken", self.generation, self.stream)
        return self.generation

    def _connect(self) -> Connection:
        conn = connect(self.settings.writer_url, session_name("lease", self.stream))
        own = "SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        self._me = {"stream": self.stream, "pid": conn.info.backend_pid, "start": scalar(conn, own)}
        return conn

    def _try_to_hold(self) -> bool:
        """Whether the stream is this session's. Never waits for a commit: a frozen one must not hide its driver."""
        return scalar(self._conn, beside(__file__, "control/hold"), self._me) is not None

    def _hold_or_leave(self) -> None:
        seen: list[object] = []
        while not self._try_to_hold():
            if self.stop_requested.is_set():
                raise AnotherDriver(f"asked to stop while waiting for stream {self.stream}")
            row = self._conn.execute(
                "SELECT heartbeat_at, state = 'stopping', heartbeat_at < clock_timestamp() - make_interval(secs => %s)"
                " FROM ops.streams WHERE stream = %s",
                [self.settings.stream_takeover_seconds, self.stream],
            ).fetchone()
            if row is not None:
                heartbeat, stopping, dead = row
                if heartbeat not in seen:
                    seen.append(heartbeat)
                # One move can be the last word of a driver that was just killed; one that stops is waited for.
                if len(seen) > 2 and not stopping:
                    raise AnotherDriver(f"stream {self.stream} has a living driver: its heartbeat moves")
                if dead:
                    log.warning("the driver of stream %s shows no sign of life: ending its sessions", self.stream)
                    self._end_sessions_of_the_driver_before()
            time.sleep(0.5)

    def _end_sessions_of_the_driver_before(self) -> None:
        """A frozen driver's session can hold the commit lock, also when its lease is long gone."""
        self._conn.execute(
            "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a"
            " JOIN ops.streams s ON a.pid = ANY(s.backend_pids)"
            " WHERE s.stream = %s AND a.usename = user AND a.pid <> pg_backend_pid()"
            " AND a.application_name = ANY(%s)",
            [self.stream, [session_name(purpose, self.stream) for purpose in SESSIONS]],
        )

    def register(self, conn: Connection) -> None:
        """Name a session of this driver, so that a successor can end it."""
        with self._registering:
            # Those that were closed are forgotten: PostgreSQL gives their numbers to others.
            self._sessions = {each: pid for each, pid in self._sessions.items() if not each.closed}
            self._sessions[conn] = conn.info.backend_pid
            self._conn.execute(
                "UPDATE ops.streams SET backend_pids = %s WHERE stream = %s AND generation = %s",
                [sorted(self._sessions.values()), self.stream, self.generation],
            )

    def start_heartbeat(self) -> None:
        """Write the heartbeat, state and lag from a thread of its own; `lost` says why when the lease is gone."""
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    def _beat(self) -> None:
        while True:
            self._news.wait(HEARTBEAT_SECONDS)
            self._news.clear()
            if self._stop.is_set():
                return
            try:
                self.beat()
                # After a lost connection the server may still have our own old session, which then holds the stream.
                self._holds = self._holds or self._try_to_hold()
            except (AnotherDriver, LeaseGone) as reason:
                self.lost = reason
                return
            except psycopg.Error as error:
                log.warning("heartbeat: PostgreSQL does not take it (%s); connecting again", type(error).__name__)
                self._reconnect()

    def say(self, state: str, blocked_by: str | None = None) -> None:
        """What heartbeats tell from now on: the state, and what keeps the driver from reading where something does."""
        self.state, self.blocked_by = state, blocked_by
        self._news.set()

    def beat(self) -> None:
        """One heartbeat; AnotherDriver where the generation is no longer ours."""
        mine = self._conn.execute(
            "UPDATE ops.streams SET heartbeat_at = clock_timestamp(), state = %s, blocked_by = %s, lag = %s,"
            " behind_since = %s, caught_up_at = %s, held = %s WHERE stream = %s AND generation = %s",
            [
                *(self.state, self.blocked_by, json.dumps(self.lag), json.dumps(self.behind_since)),
                *(self.caught_up_at, self._held(), self.stream, self.generation),
            ],
        ).rowcount
        if not mine:
            now = scalar(self._conn, "SELECT generation FROM ops.streams WHERE stream = %s", [self.stream])
            if now is not None and now > self.generation:
                raise AnotherDriver(f"generation {self.generation} of stream {self.stream} was replaced")
            raise LeaseGone(f"generation {self.generation} of stream {self.stream} is no longer in the database")

    def _held(self) -> str:
        return json.dumps({topic: asdict(held) for topic, held in self.held.items()})

    def _reconnect(self) -> None:
        """A new session, whose next beat tells whether the stream is still ours."""
        try:
            self._conn = self._connect()
            self._holds = False
            self.register(self._conn)
        except psycopg.Error:
            return  # the next beat fails and comes here again

    def release(self, as_asked: bool = True) -> None:
        """Last words of a driver that leaves by itself, as it was asked to or because it had to."""
        self._stop.set()
        self._news.set()
        with contextlib.suppress(psycopg.Error):  # PostgreSQL may be away; its heartbeat then says enough
            self._conn.execute(
                "UPDATE ops.streams SET state = %s, blocked_by = NULL, held = %s WHERE stream = %s AND generation = %s",
                ["stopped" if as_asked else "failed", self._held(), self.stream, self.generation],
            )
            self._conn.close()
