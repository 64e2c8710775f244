"""What happens to the machine under a stack, what is left on it, and the commands that a user types."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
from psycopg import sql

from wardstream import stack
from wardstream.settings import Settings
from wardstream.stack import manager, paths, report
from wardstream.stack.parts import postgres

LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def wait(check: Callable[[], bool], seconds: float) -> bool:
    """Whether it comes true in time."""
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def healthy(settings: Settings) -> set[str]:
    """The parts that work."""
    return {row.part for row in report.report(settings).parts if row.healthy}


def command(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`wardstream up` and so on, as a user types it."""
    return subprocess.run(
        [sys.executable, "-m", "wardstream.stack.stack_commands", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **stack.environment(settings)},
    )


def processes(settings: Settings) -> list[psutil.Process]:
    """The process manager, the parts, and all they started."""
    found = []
    for pid in [manager.manager_pid(settings), *stack.pids(settings).values()]:
        if pid is not None:
            found += [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return found


def in_the_process_table(settings: Settings) -> list[str]:
    """All that names this stack's folder on its command line or in its environment, or works in it; not ourselves."""
    place, found = str(settings.state_dir), []
    for process in psutil.process_iter():
        try:
            told = [*process.cmdline(), *process.environ().values(), process.cwd()]
        except psutil.Error:
            continue
        if process.pid != os.getpid() and any(place in word for word in told):
            found.append(f"{process.pid} {process.name()}")
    return found


def listening(settings: Settings) -> set[tuple[str, int]]:
    """Address and port of every TCP socket that listens and every UDP socket, of all that belongs to this stack."""
    return {at for process in {*processes(settings), *manager.leftovers(settings)} for at in sockets(process)}


def sockets(process: psutil.Process) -> set[tuple[str, int]]:
    """Address and port of what others could reach of a process; nothing of one that ends meanwhile."""
    with contextlib.suppress(psutil.Error):
        return {
            (each.laddr.ip, each.laddr.port)
            for each in process.net_connections(kind="inet")
            if each.status == psutil.CONN_LISTEN or each.type == socket.SOCK_DGRAM
        }
    return set()


def texts_of_database(settings: Settings, database: str) -> list[str]:
    """Every row of every table of a server's own database."""
    found = []
    with postgres.connect(settings, database) as connection:
        for (table,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall():
            rows = connection.execute(sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(table))).fetchall()
            found += [row[0] for row in rows]
    return found


@contextlib.contextmanager
def innocent() -> Iterator[subprocess.Popen[bytes]]:
    """Somebody else's process, of the user that PostgreSQL runs as: a number that a file of ours may name by now."""
    user = postgres.user()
    how: dict[str, Any] = {"user": user[0], "group": user[1], "extra_groups": []} if user else {}
    with subprocess.Popen(["sleep", "600"], start_new_session=True, cwd="/", **how) as process:
        try:
            yield process
        finally:
            process.kill()


def switch_off(settings: Settings, innocent: int) -> None:
    """Leave what a reboot leaves: every file, no process, and numbers that belong to somebody else by now."""
    family = processes(settings)
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):  # it ends by itself once its parent is gone
            process.kill()
    assert not psutil.wait_procs(family, timeout=20)[1]
    assert paths.socket_file(settings).exists()
    run = settings.state_dir / "run"
    (run / "manager.pid").write_text(f"{innocent}\n")
    for life in run.glob("*.life"):
        started = Path(f"/proc/{innocent}/stat").read_text().rpartition(")")[2].split()[19]
        says = {"session": innocent, "boot": "of the day before", "started": started}
        life.write_text(json.dumps({**json.loads(life.read_text()), **says}))
    server = postgres.home(settings) / "data" / "postmaster.pid"
    _, *others = server.read_text().splitlines()
    server.write_text("\n".join([str(innocent), *others]) + "\n")
