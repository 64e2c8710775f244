"""One driver at a time: the advisory lock, the generation that fences older drivers, and the heartbeat.

A driver takes the stream when nobody holds its session lock, or when the holder's heartbeat has stood still for
`stream_takeover_seconds`: then the holder's sessions are ended (a driver frozen inside COPY would keep its locks)
and the generation is raised under the commit lock, so that whatever the older driver still tries fails at its
compare-and-set. A second driver that sees the heartbeat move leaves with exit code 75, which the process manager
does not restart.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time

import psycopg

from wardstream.database import Connection, connect, scalar
from wardstream.settings import Settings
from wardstream.stream.commit import COMMIT_LOCK

log = logging.getLogger(__name__)

EXIT_FENCED = 75
HEARTBEAT_SECONDS = 2.0
Lag = dict[str, dict[str, int]]


class AnotherDriver(Exception):
    """The stream has a living driver, or this one was replaced: leave with EXIT_FENCED."""


class Lease:
    """The right to write a stream, held from `take` to the end of the process."""

    def __init__(self, settings: Settings, stream: str) -> None:
        self.settings = settings
        self.stream = stream
        self.generation = 0
        self.state = "starting"
        self.lost: str | None = None
        self.lag: Lag = {}
        self._conn = connect(settings.writer_url, f"wardstream lease {stream}")
        self._backends: set[int] = set()
        self._locked = False
        self._stop = threading.Event()

    def take(self) -> int:
        """Wait until the stream is free or its driver is dead, then take the next generation.

        Raises AnotherDriver where a living driver's heartbeat is seen to move.
        """
        self._lock_or_leave()
        with self._conn.transaction():
            self._conn.execute("SELECT pg_advisory_xact_lock(%s)", [COMMIT_LOCK])
            self.generation = scalar(
                self._conn,
                "INSERT INTO ops.streams AS s"
                " (stream, generation, state, pid, backend_pids, started_at, heartbeat_at, lag)"
                " VALUES (%s, 1, 'starting', %s, '{}', now(), now(), '{}')"
                " ON CONFLICT (stream) DO UPDATE SET generation = s.generation + 1, state = excluded.state,"
                " pid = excluded.pid, backend_pids = '{}', started_at = now(), heartbeat_at = now()"
                " RETURNING generation",
                [self.stream, os.getpid()],
            )
        self._locked = True
        self.register(self._conn)
        log.info("generation %s of stream %s taken", self.generation, self.stream)
        return self.generation

    def _try_lock(self) -> bool:
        return bool(scalar(self._conn, "SELECT pg_try_advisory_lock(%s, hashtext(%s))", [COMMIT_LOCK, self.stream]))

    def _lock_or_leave(self) -> None:
        first: object = None
        while not self._try_lock():
            row = self._conn.execute(
                "SELECT heartbeat_at, backend_pids, heartbeat_at < clock_timestamp() - make_interval(secs => %s)"
                " FROM ops.streams WHERE stream = %s",
                [self.settings.stream_takeover_seconds, self.stream],
            ).fetchone()
            if row is not None:
                heartbeat, backends, dead = row
                first = first or heartbeat
                if heartbeat != first:
                    raise AnotherDriver(f"stream {self.stream} has a living driver: its heartbeat moves")
                if dead:
                    log.warning("the driver of stream %s shows no sign of life: ending its sessions", self.stream)
                    self._conn.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = ANY(%s) AND usename = user",
                        [backends],
                    )
            time.sleep(0.5)

    def register(self, conn: Connection) -> None:
        """Name a session of this driver, so that a successor can end it."""
        self._backends.add(conn.info.backend_pid)
        self._conn.execute(
            "UPDATE ops.streams SET backend_pids = %s WHERE stream = %s AND generation = %s",
            [sorted(self._backends), self.stream, self.generation],
        )

    def start_heartbeat(self) -> None:
        """Write the heartbeat, state and lag from a thread of its own; `lost` says why when the lease is gone."""
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            try:
                self.beat()
                # After a lost connection the server may still hold the lock for our own old session.
                self._locked = self._locked or self._try_lock()
            except AnotherDriver as reason:
                self.lost = str(reason)
                return
            except psycopg.OperationalError as error:
                log.warning("heartbeat: PostgreSQL does not answer (%s); connecting again", type(error).__name__)
                self._reconnect()

    def beat(self) -> None:
        """One heartbeat; AnotherDriver where the generation is no longer ours."""
        mine = self._conn.execute(
            "UPDATE ops.streams SET heartbeat_at = clock_timestamp(), state = %s, lag = %s"
            " WHERE stream = %s AND generation = %s",
            [self.state, json.dumps(self.lag), self.stream, self.generation],
        ).rowcount
        if not mine:
            raise AnotherDriver(f"generation {self.generation} of stream {self.stream} was replaced")

    def _reconnect(self) -> None:
        """A new session, whose next beat tells whether the stream is still ours."""
        try:
            self._conn = connect(self.settings.writer_url, f"wardstream lease {self.stream}")
            self._locked = False
            self.register(self._conn)
        except psycopg.OperationalError:
            return  # the next beat fails and comes here again

    def release(self) -> None:
        """Last words of a driver that leaves by itself."""
        self._stop.set()
        self._conn.execute(
            "UPDATE ops.streams SET state = 'stopped' WHERE stream = %s AND generation = %s",
            [self.stream, self.generation],
        )
        self._conn.close()
