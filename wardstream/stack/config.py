"""The process manager's generated configuration (supervisord): one program a part, none started by itself."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from wardstream.settings import PROJECT_ROOT, Settings
from wardstream.stack.part import Part
from wardstream.stack.parts import PARTS
from wardstream.stack.paths import launch_file, log_file, run_dir, socket_file

MEMORY_GUARD = "memory-guard"
"""The process that enforces the memory limits; it belongs to the process manager and is no part."""
GUARD_EVENT = "TICK_5"
"""How often it looks: every five seconds."""


def manager_config(settings: Settings) -> str:
    """The text of the configuration file."""
    run = run_dir(settings)
    sections = [
        _section("unix_http_server", {"file": socket_file(settings), "chmod": "0700"}),
        _section(
            "supervisord",
            {
                "logfile": log_file(settings, "manager"),
                "logfile_maxbytes": "1MB",
                "logfile_backups": 1,
                "pidfile": run / "manager.pid",
                "childlogdir": run,
                "directory": PROJECT_ROOT,
                "identifier": "wardstream",
                "nocleanup": "true",
                # said aloud, because it warns when it is root and nobody said so
                **({"user": "root"} if os.geteuid() == 0 else {}),
            },
        ),
        _section(
            "rpcinterface:supervisor",
            {"supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"},
        ),
    ]
    return "\n".join([*sections, _memory_guard(settings), *(_program(settings, part) for part in PARTS)])


def _command(settings: Settings, name: str) -> str:
    launcher = Path(__file__).with_name("launch.py")
    return shlex.join([sys.executable, "-I", str(launcher), str(launch_file(settings, name))])


def _memory_guard(settings: Settings) -> str:
    values: dict[str, object] = {
        "command": _command(settings, MEMORY_GUARD),
        "events": GUARD_EVENT,
        "autostart": "false",  # its command is written when the process manager, whose pid it names, is there
        # after the parts' 999, so stopped first: supervisord stops one program a second
        "priority": 1000,
        "stopwaitsecs": 2,
        "stderr_logfile": log_file(settings, MEMORY_GUARD),
        "stderr_logfile_maxbytes": "1MB",
        "stderr_logfile_backups": 1,
    }
    return _section(f"eventlistener:{MEMORY_GUARD}", values)


def _program(settings: Settings, part: Part) -> str:
    values: dict[str, object] = {
        "command": _command(settings, part.name),
        "directory": PROJECT_ROOT,
        "autostart": "false",
        "autorestart": "true",
        "startsecs": 1,
        # the n-th retry waits n seconds: ten minutes in all, then the state is FATAL and `status` and `up` say so
        "startretries": 35,
        "stopsignal": part.stop_signal.name.removeprefix("SIG"),
        "stopwaitsecs": part.stop_seconds,
        "stopasgroup": "false",
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": log_file(settings, part.name),
        "stdout_logfile_maxbytes": "10MB",
        "stdout_logfile_backups": 2,
    }
    if part.last_exit_code is not None:
        # startsecs 0: an exit code counts even when it comes at once; launch.py spaces the starts out instead
        values |= {"autorestart": "unexpected", "exitcodes": part.last_exit_code, "startsecs": 0}
    return _section(f"program:{part.name}", values)


def _section(name: str, values: dict[str, object]) -> str:
    # supervisord expands % in every value, and in the names of a process's logs twice
    percent = {key: "%%%%" if key in ("stdout_logfile", "stderr_logfile") else "%%" for key in values}
    lines = [f"{key}={str(value).replace('%', percent[key])}" for key, value in values.items()]
    return "\n".join([f"[{name}]", *lines, ""])
