"""A part that starts again first ends what its former life left behind, and nothing else."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from wardstream.stack import launch

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")

# Starts what Airflow's scheduler starts: a group of its own without our environment, a session of its own with it, and
# one more in a session of its own without it, but with a living parent.
SCHEDULER = """
import os, subprocess, sys, time
def start(how, env, *command):
    own = {"start_new_session": True} if how == "session" else {"process_group": 0}
    return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, **own).pid
pids = [
    start("group", {}, "sleep", "600"),
    start("session", None, "sleep", "600"),
    start("session", None, "sh", "-c", "env -i setsid sleep 601 & wait"),
]
print(*pids, flush=True)
time.sleep(600)
"""
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a part as the process manager does: as the leader of a group."""
    started = []

    def begin(*argv: str) -> subprocess.Popen[str]:
        spec: dict[str, object] = {
            "argv": argv,
            "cwd": str(tmp_path),
            "base": {"PATH": os.environ["PATH"]},
            "env": {},
            "user": None,
            "orphan_signal": int(signal.SIGTERM),
            "manager": os.getpid(),
            "marker": f"part@{tmp_path}",
            "pause": 0.0,
            "nice": 5,
        }
        (tmp_path / "part.json").write_text(json.dumps(spec))
        command = [sys.executable, "-I", launch.__file__, str(tmp_path / "part.json")]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, process_group=0))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """Somebody else's process, in a session of its own."""
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def _lives(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def _life(folder: Path) -> Path:
    return folder / "part.life"


def test_what_a_killed_part_left_is_ended_before_it_starts_again(start, tmp_path, stranger):
    first = start(sys.executable, "-c", SCHEDULER)
    left = [int(word) for word in first.stdout.readline().split()]
    deadline = time.monotonic() + 10
    while not (deeper := [child.pid for pid in left for child in psutil.Process(pid).children(recursive=True)]):
        assert time.monotonic() < deadline
    found = launch.members(_life(tmp_path), f"part@{tmp_path}")
    ages = [psutil.Process(pid).create_time() for pid in found]
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert all(_lives(pid) for pid in [*left, *deeper])  # nobody tells them
    second = start("/bin/sh", "-c", "echo begun; exec sleep 600")
    assert second.stdout.readline() == "begun\n"
    survivors = [pid for pid in [*left, *deeper] if _lives(pid)]
    for pid in survivors:
        os.kill(pid, signal.SIGKILL)
    assert not survivors
    assert set(found) == {first.pid, *left, *deeper}
    assert found[0] == first.pid and ages == sorted(ages)  # parents first
    assert stranger.poll() is None
    assert launch.members(_life(tmp_path), f"part@{tmp_path}") == [second.pid]


def test_a_part_leads_a_session_and_its_group(start):
    part = start("/bin/sh", "-c", "echo begun; exec sleep 600")
    assert part.stdout.readline() == "begun\n"
    assert os.getsid(part.pid) == os.getpgid(part.pid) == part.pid


def test_a_part_steps_back_as_told(start):
    part = start("/bin/sh", "-c", "echo begun; exec sleep 600")
    assert part.stdout.readline() == "begun\n"
    assert psutil.Process(part.pid).nice() == psutil.Process().nice() + 5
    group = Path(f"/proc/{part.pid}/autogroup")
    if group.exists() and group.read_text():
        assert group.read_text().endswith("nice 5\n")


@pytest.mark.parametrize("wrong", [{"started": "1"}, {"boot": "another"}])
def test_a_number_that_somebody_else_has_now_is_not_mistaken(tmp_path, stranger, wrong):
    says = {"session": stranger.pid, "boot": launch._boot(), "started": launch._started(stranger.pid)}
    life = _life(tmp_path)
    life.write_text(json.dumps(says))
    assert launch.members(life, "part@x") == [stranger.pid]
    life.write_text(json.dumps({**says, **wrong}))
    assert launch.members(life, "part@x") == []


def test_no_file_and_a_torn_one_name_nobody(tmp_path):
    assert launch.members(_life(tmp_path), "part@x") == []
    _life(tmp_path).write_text('{"session": 1')
    assert launch.members(_life(tmp_path), "part@x") == []


def test_the_restart_of_a_container_is_another_boot():
    """It keeps the machine's boot id and gives the same numbers anew; its first process is another one."""
    machine, first = launch._boot().split()
    assert len(machine) == 36 and first == launch._started(1) != ""
