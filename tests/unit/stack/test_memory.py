"""A part's memory is that of everything it started, and what its processes share counts once."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wardstream.settings import Settings
from wardstream.stack import launch, manager, memory, memory_guard
from wardstream.stack.paths import run_dir

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")

MIB = 2**20
# A child in a session of its own, as Airflow's tasks are, and one whose parent is gone; each has 40 MiB for itself.
FAMILY = """
import os, shlex, subprocess, sys, time
big = "x = bytearray(os.urandom(40 << 20)); print('there', flush=True); time.sleep(600)"
child = "import os, time; " + big
subprocess.Popen([sys.executable, "-c", child], start_new_session=True)
subprocess.run(["sh", "-c", f'{shlex.quote(sys.executable)} -c "{child}" &'])
exec(big)
"""
# 60 MiB, which three forked children read and none changes.
SHARING = """
import os, time
x = bytearray(os.urandom(60 << 20))
for _ in range(3):
    if os.fork() == 0:
        break
print("there", flush=True)
time.sleep(600)
"""


@pytest.fixture
def start(settings: Settings) -> Iterator[Callable[[str, int], None]]:
    """Start a part's command as the process manager does, and wait until so many of its processes are there."""
    file = run_dir(settings) / "scheduler.json"
    mark = manager.marker(settings, "scheduler")
    started: list[subprocess.Popen[str]] = []

    def begin(code: str, voices: int) -> None:
        spec: dict[str, object] = {
            "argv": [sys.executable, "-c", code],
            "cwd": str(settings.state_dir),
            "base": {"PATH": os.environ["PATH"]},
            "env": {},
            "user": None,
            "orphan_signal": int(signal.SIGTERM),
            "manager": os.getpid(),
            "marker": mark,
            "pause": 0.0,
            "nice": 0,
        }
        file.write_text(json.dumps(spec))
        command = [sys.executable, "-I", launch.__file__, str(file)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, process_group=0))
        assert started[0].stdout is not None
        for _ in range(voices):
            assert started[0].stdout.readline() == "there\n"

    yield begin
    for pid in launch.members(file.with_suffix(".life"), mark):
        os.kill(pid, signal.SIGKILL)
    for process in started:
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_children_count_wherever_they_went(settings, start):
    start(FAMILY, 3)
    sizes = memory.memory_by_part(settings)
    assert set(sizes) == {"scheduler"}
    assert 120 * MIB < sizes["scheduler"] < 200 * MIB


def test_what_is_shared_counts_once(settings, start):
    start(SHARING, 4)
    assert 60 * MIB < memory.memory_by_part(settings)["scheduler"] < 120 * MIB


def test_the_part_that_asks_counts_itself(settings, monkeypatch):
    monkeypatch.setenv("WARDSTREAM_PART", manager.marker(settings, "stream"))
    sizes = memory.memory_by_part(settings)
    assert set(sizes) == {"stream"} and sizes["stream"] >= memory_guard.process_memory(os.getpid()) // 2


def test_nothing_runs_and_nobody_is_counted(settings):
    assert memory.memory_by_part(settings) == {}
    assert memory_guard.process_memory(2**22 - 1) == 0
