"""The process manager's generated configuration (supervisord): one program a part, none started by itself."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from wardstream.settings import PROJECT_ROOT, Settings
from wardstream.stack.parts import PARTS
from wardstream.stack.paths import log_file, run_dir, socket_file

FENCED = 75
"""The stream's exit code when another driver is alive: starting it again would only repeat that."""

STOP_SIGNAL = {"postgres": "INT"}  # PostgreSQL's fast shutdown; TERM would wait for its clients to leave
STOP_SECONDS = {
    "postgres": 30,
    "kafka": 30,
    "registry": 10,
    "stream": 60,  # it finishes its batch
    "api-server": 2,  # it keeps nothing; asked kindly it takes longer than five seconds
    "scheduler": 5,  # it would wait for its tasks to the end; they are repeated after the next start
    "dag-processor": 5,
}


def launch_file(settings: Settings, part: str) -> Path:
    """The file with a part's command, written at each start."""
    return run_dir(settings) / f"{part}.json"


def life_file(settings: Settings, part: str) -> Path:
    """The file in which launch.py says which process a part is, written at each start."""
    return settings.state_dir / "run" / f"{part}.life"  # beside launch_file, but asking for it makes no folder


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
    return "\n".join(sections + [_program(settings, part) for part in PARTS])


def _program(settings: Settings, part: str) -> str:
    launcher = Path(__file__).with_name("launch.py")
    values: dict[str, object] = {
        "command": shlex.join([sys.executable, "-I", str(launcher), str(launch_file(settings, part))]),
        "directory": PROJECT_ROOT,
        "autostart": "false",
        "autorestart": "true",
        "startsecs": 1,
        # the n-th retry waits n seconds: ten minutes in all, then the state is FATAL and `status` and `up` say so
        "startretries": 35,
        "stopsignal": STOP_SIGNAL.get(part, "TERM"),
        "stopwaitsecs": STOP_SECONDS[part],
        "stopasgroup": "false",
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": log_file(settings, part),
        "stdout_logfile_maxbytes": "10MB",
        "stdout_logfile_backups": 2,
    }
    if part == "stream":
        # startsecs 0: an exit code counts even when it comes at once; launch.py spaces the starts out instead
        values |= {"autorestart": "unexpected", "exitcodes": FENCED, "startsecs": 0}
    return _section(f"program:{part}", values)


def _section(name: str, values: dict[str, object]) -> str:
    # supervisord expands % in every value
    lines = [f"{key}={str(value).replace('%', '%%')}" for key, value in values.items()]
    return "\n".join([f"[{name}]", *lines, ""])
