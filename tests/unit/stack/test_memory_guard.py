"""A part that takes more memory than its limit is asked to end, then killed; one within its limit is left alone."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wardstream.settings import Settings
from wardstream.stack import launch, manager, paths
from wardstream.stack.config import MEMORY_GUARD
from wardstream.stack.memory_guard import Guard
from wardstream.stack.paths import life_file, run_dir

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")

MIB = 2**20
# Its child, in a session of its own, has what is too much.
FAMILY = """
import os, signal, subprocess, sys, time
if "deaf" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = "import os, time; x = bytearray(os.urandom(80 << 20)); print('there', flush=True); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", child], start_new_session=True)
time.sleep(600)
"""
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(settings: Settings) -> Iterator[Start]:
    """Start a part as the process manager does, with a limit in MiB, and wait until it has its memory."""
    file = run_dir(settings) / "made-up.json"
    marker = f"made-up@{settings.state_dir}"
    started: list[subprocess.Popen[str]] = []

    def begin(limit: int, *words: str) -> subprocess.Popen[str]:
        spec: dict[str, object] = {
            "argv": [sys.executable, "-c", FAMILY, *words],
            "cwd": str(settings.state_dir),
            "base": {"PATH": os.environ["PATH"]},
            "env": {},
            "user": None,
            "orphan_signal": int(signal.SIGTERM),
            "manager": os.getpid(),
            "marker": marker,
            "pause": 0.0,
            "nice": 0,
            "memory_limit": limit * MIB,
            "stop_signal": int(signal.SIGTERM),
            "stop_seconds": 0.5,
        }
        file.write_text(json.dumps(spec))
        command = [sys.executable, "-I", launch.__file__, str(file)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, process_group=0))
        assert started[0].stdout is not None
        assert started[0].stdout.readline() == "there\n"
        return started[0]

    yield begin
    for pid in launch.members(file.with_suffix(".life"), marker):
        os.kill(pid, signal.SIGKILL)
    for process in started:
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_over_its_limit_it_is_asked_to_end_and_one_line_says_so(settings, start, capfd):
    part = start(60)
    guard = Guard(run_dir(settings))
    guard.look()
    assert part.wait(timeout=10) == -signal.SIGTERM
    guard.look()  # nothing to do any more, and nothing to say
    (line,) = capfd.readouterr().err.splitlines()
    assert "WARNING made-up takes " in line and "its limit of 60 MiB: it is restarted" in line
    assert "WARDSTREAM_MEMORY_LIMITS=made-up=SIZE" in line


def test_one_that_does_not_end_is_killed(settings, start, capfd):
    part = start(60, "deaf")
    guard = Guard(run_dir(settings))
    guard.look()
    guard.look()
    time.sleep(0.6)
    assert part.poll() is None  # it has its time
    guard.look()
    assert part.wait(timeout=10) == -signal.SIGKILL
    assert len(capfd.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("limit", [400, 0])
def test_within_its_limit_or_without_one_it_is_left_alone(settings, start, capfd, limit):
    part = start(limit)
    Guard(run_dir(settings)).look()
    time.sleep(0.3)
    assert part.poll() is None and not capfd.readouterr().err


def test_what_another_wrote_into_the_folder_ends_nothing(settings):
    (run_dir(settings) / "half.json").write_text('{"memory_limit": 1')
    (run_dir(settings) / "gone.json").write_text('{"memory_limit": 1, "marker": "x@y"}')
    Guard(run_dir(settings)).look()


def test_it_does_not_hold_up_the_end_of_the_process_manager(make_settings, tmp_path):
    settings = make_settings(state_dir=tmp_path / "state %d", short_dir=Path("/var/tmp"))
    manager.ensure_running(settings)
    try:
        deadline = time.monotonic() + 10
        while not launch.members(life_file(settings, MEMORY_GUARD), manager.marker(settings, MEMORY_GUARD)):
            assert time.monotonic() < deadline
        time.sleep(1.2)  # until it counts as running
        begun = time.monotonic()
    finally:
        manager.shut_down(settings)
        paths.remove(settings)
    assert time.monotonic() - begun < 3
    assert not manager.leftovers(settings)
