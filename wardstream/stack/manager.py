"""The process manager (supervisord): starting it, asking it, and ending whatever a killed one left behind.

It runs detached, listens on a Unix socket that only we can open, and restarts a part when it dies. Beside the parts it
runs the memory guard (memory_guard.py). In which order parts start is not its business: see up.py.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psutil
from supervisor.xmlrpc import SupervisorTransport

from wardstream.settings import Settings
from wardstream.stack.config import MEMORY_GUARD, manager_config
from wardstream.stack.env import base_environment, redact
from wardstream.stack.errors import StackError
from wardstream.stack.launch import Process, members, processes
from wardstream.stack.part import Launch, Part
from wardstream.stack.parts import PARTS, named
from wardstream.stack.paths import (
    folder,
    launch_file,
    life_file,
    log_file,
    make_outside_dir,
    outside_dir,
    run_dir,
    socket_file,
)

START_SECONDS = 10.0
NO_SETTINGS = ("PATH", "WARDSTREAM_WITH", "WARDSTREAM_PART_PORTS", "WARDSTREAM_MEMORY_LIMITS")
"""Variables that no part is restarted for: PATH differs between a shell in the virtual environment and make, and the
others say nothing to a part that another line of its launch file does not."""
ALIVE = ("STARTING", "RUNNING", "BACKOFF", "STOPPING")


@dataclass(frozen=True)
class State:
    """What the process manager says of one part."""

    name: str
    pid: int
    uptime: float


def _rpc(settings: Settings) -> Any:
    # a proxy of its own for every call: they are not safe to share between threads
    return xmlrpc.client.ServerProxy(
        "http://127.0.0.1", transport=SupervisorTransport(None, None, f"unix://{socket_file(settings)}")
    ).supervisor


def manager_pid(settings: Settings) -> int | None:
    """The process manager's pid if it answers."""
    if not socket_file(settings).exists():
        return None
    try:
        return int(_rpc(settings).getPID())
    except (OSError, http.client.HTTPException, xmlrpc.client.Error):
        return None


def states(settings: Settings) -> dict[str, State]:
    """Each part's state; empty when the process manager does not run."""
    if manager_pid(settings) is None:
        return {}
    return {
        info["name"]: State(info["statename"], info["pid"], float(info["now"] - info["start"] if info["pid"] else 0))
        for info in _rpc(settings).getAllProcessInfo()
        if info["name"] != MEMORY_GUARD
    }


def alive(settings: Settings) -> set[str]:
    """The names of the parts that run, or that the process manager is about to restart."""
    return {name for name, state in states(settings).items() if state.name in ALIVE}


def pid_of(settings: Settings, part: str) -> int | None:
    """The pid of one part, if it has one."""
    state = states(settings).get(part)
    return state.pid if state and state.pid else None


def ensure_running(settings: Settings) -> None:
    """Start the process manager and its memory guard if they do not run."""
    if manager_pid(settings) is None:
        _start_manager(settings)
    if not any(
        info["name"] == MEMORY_GUARD and info["statename"] in ALIVE for info in _rpc(settings).getAllProcessInfo()
    ):
        guard = Path(__file__).with_name("memory_guard.py")
        argv = [sys.executable, "-I", str(guard), str(run_dir(settings))]
        _start(settings, _MemoryGuard(), Launch(argv, cwd=run_dir(settings)))


def _start_manager(settings: Settings) -> None:
    if socket_file(settings).parent == outside_dir(settings):
        make_outside_dir(settings)
    socket_file(settings).unlink(missing_ok=True)
    config = run_dir(settings) / "manager.conf"
    config.write_text(manager_config(settings))
    log = log_file(settings, "manager")
    command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(config)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, start_new_session=True)
    deadline = time.monotonic() + START_SECONDS
    while manager_pid(settings) is None:
        if result.returncode or time.monotonic() > deadline:
            said = [line.strip() for line in (result.stderr or result.stdout).splitlines() if line.strip()]
            why = [line for line in said if line.startswith("Error: ")] or said or [f"it does not answer, see {log}"]
            raise StackError("manager", why[-1], "wardstream down; wardstream up")
        time.sleep(0.05)


class _MemoryGuard(Part):
    """Started like a part, so that it is swept like one; it limits the others."""

    name = MEMORY_GUARD

    def most_memory(self, settings: Settings) -> int:
        """It does not watch itself."""
        return 0


def _spec(settings: Settings, part: Part, launch: Launch) -> dict[str, object]:
    return {
        **asdict(launch),
        "cwd": str(launch.cwd),
        "user": list(launch.user) if launch.user else None,
        "env": dict(launch.env),
        "orphan_signal": int(launch.orphan_signal),
        "marker": marker(settings, part.name),
        "ports": part.port_variables(settings),
        "pause": 0.0 if part.last_exit_code is None else 1.0,
        "memory_limit": part.memory_limit(settings),
        # for the memory guard
        "stop_signal": int(signal.SIGKILL if part.left_at_once else part.stop_signal),
        "stop_seconds": part.stop_seconds,
    }


def same_launch(settings: Settings, part: str, launch: Launch) -> bool:
    """Whether a part was started with this same command and these same settings."""
    try:
        before = json.loads(launch_file(settings, part).read_text())
    except (FileNotFoundError, ValueError):
        return False
    now = _spec(settings, named(part), replace(launch, env=_settings_in(launch.env)))
    before["env"] = _settings_in(before.get("env", {}))
    return all(before.get(key) == value for key, value in now.items())


def _settings_in(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name not in NO_SETTINGS}


def start(settings: Settings, part: str, launch: Launch) -> None:
    """Have the process manager start a part and keep it running; does not wait until it is ready."""
    _start(settings, named(part), launch)
    _remember(settings, named(part))


def _start(settings: Settings, part: Part, launch: Launch) -> None:
    base = base_environment(settings, with_java=False)
    spec = {**_spec(settings, part, launch), "base": base, "manager": manager_pid(settings)}
    file = launch_file(settings, part.name)
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)  # it holds passwords
    with os.fdopen(handle, "w") as stream:
        json.dump(spec, stream, indent=1)
    with contextlib.suppress(FileNotFoundError):
        file.with_suffix(".started").unlink()
    try:
        _rpc(settings).startProcess(part.name, False)
    except xmlrpc.client.Fault as fault:
        if "BAD_NAME" in fault.faultString:
            why = "the process manager was started by a version of Wardstream that has no such part"
            raise StackError(part.name, why, "wardstream down; wardstream up") from fault
        if "ALREADY_STARTED" not in fault.faultString:
            raise StackError(part.name, fault.faultString, f"wardstream logs {part.name}") from fault


def _remember(settings: Settings, part: Part) -> None:
    """Keep a part's ports for the commands after this one (`settings.LastStart`)."""
    if chosen := part.port_numbers(settings):
        (folder(settings, "ports") / f"{part.name}.json").write_text(json.dumps(chosen))


def stop(settings: Settings, part: str) -> None:
    """Stop a part as its stop signal says, wait for it, and end what it left behind."""
    state = states(settings).get(part)
    if state is None:
        return
    family = _family(state.pid)
    if state.name in ALIVE:
        try:
            _rpc(settings).stopProcess(part, True)
        except xmlrpc.client.Fault as fault:
            if "NOT_RUNNING" not in fault.faultString:
                raise StackError(part, fault.faultString, "wardstream down") from fault
    of_part = named(part)
    end(family, 0.0 if of_part.left_at_once else 2.0, None if of_part.left_at_once else of_part.stop_signal)
    end(_left_by(settings, part), 0.0, None)


def shut_down(settings: Settings) -> None:
    """End the process manager itself, then every process of this stack that is still there, and clear `run`."""
    pid = manager_pid(settings)
    if pid is not None:
        process = psutil.Process(pid)
        with contextlib.suppress(xmlrpc.client.Error, OSError, http.client.HTTPException):
            _rpc(settings).shutdown()
        end([process], 5.0, None)
    end_leftovers(settings, grace=5.0)
    socket_file(settings).unlink(missing_ok=True)
    shutil.rmtree(settings.state_dir / "run", ignore_errors=True)


def marker(settings: Settings, part: str) -> str:
    """The value of WARDSTREAM_PART in the environment of a part and of everything it starts."""
    return f"{part}@{settings.state_dir}"


def leftovers(settings: Settings) -> list[psutil.Process]:
    """Processes of this stack whose process manager is gone: of a part's life, and what a part knows by itself."""
    seen = processes()
    names = [*(part.name for part in PARTS), MEMORY_GUARD]
    found = [process for name in names for process in _left_by(settings, name, seen)]
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            _, _, place = process.environ().get("WARDSTREAM_PART", "").partition("@")
            if place == str(settings.state_dir) and process.pid != os.getpid() and process not in found:
                found.append(process)
    found += [process for part in PARTS for process in part.strays(settings) if process not in found]
    with contextlib.suppress(FileNotFoundError, ValueError, psutil.Error):
        process = psutil.Process(int((settings.state_dir / "run" / "manager.pid").read_text()))
        if str(settings.state_dir / "run" / "manager.conf") in process.cmdline():
            found.append(process)
    return found


def end_leftovers(settings: Settings, grace: float) -> int:
    """End every leftover, and say how many there were. What need not be asked is killed first."""
    count = len(leftovers(settings))
    for part in PARTS:
        if part.left_at_once:
            end(_left_by(settings, part.name), 0.0, None)
    asked: list[psutil.Process] = []
    for part in PARTS:
        own = [*_left_by(settings, part.name), *part.strays(settings)]
        end(own, None, part.stop_signal)
        asked += own
    end([process for process in leftovers(settings) if process not in asked], None, signal.SIGTERM)
    end(leftovers(settings), grace, None)
    end(leftovers(settings), 0.0, None)  # what those started meanwhile
    return count


def _left_by(settings: Settings, part: str, seen: dict[int, Process] | None = None) -> list[psutil.Process]:
    found = []
    for pid in members(life_file(settings, part), marker(settings, part), seen):
        with contextlib.suppress(psutil.Error):
            found.append(psutil.Process(pid))
    return found


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid) if pid else None
        return [process, *process.children(recursive=True)] if process else []
    except psutil.NoSuchProcess:
        return []


def end(processes: list[psutil.Process], grace: float | None, ask: signal.Signals | None) -> None:
    """Ask processes to end by a signal, unless they know already; after `grace` seconds kill those that are left.

    With None for `grace` they are asked only.
    """
    alive = [process for process in processes if process.is_running()]
    for process in alive:
        with contextlib.suppress(psutil.Error):
            if ask is not None:
                process.send_signal(ask)
    if grace is None:
        return
    if grace:
        _, late = psutil.wait_procs(alive, timeout=grace)
        alive = [process for process in alive if process in late]  # in the order given, which wait_procs loses
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=5)


def last_lines(settings: Settings, part: str, count: int = 12) -> str:
    """The end of a part's log, without secrets."""
    try:
        text = log_file(settings, part).read_text(errors="replace")
    except FileNotFoundError:
        return "(no log)"
    return redact("\n".join(text.splitlines()[-count:]), settings)
