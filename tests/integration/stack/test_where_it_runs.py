"""Two stacks on one machine, a machine that was switched off, a user with a private home: PostgreSQL alone shows it.

What the other parts add to it is in test_stack.py and test_airflow.py, whose stacks lie in a path with a space.
"""

import os
import pwd
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.stack.conftest import own_settings
from tests.integration.stack.machine import command, in_the_process_table, innocent, processes, switch_off
from wardstream import stack
from wardstream.settings import PROJECT_ROOT, Settings
from wardstream.stack import env, manager, paths
from wardstream.stack.parts import postgres

Begin = Callable[[Path], Settings]
USER = "nobody"


@pytest.fixture(scope="module")
def begin() -> Iterator[Begin]:
    """Starts the PostgreSQL of a stack in a folder; all are stopped and deleted at the end."""
    begun = []

    def start(folder: Path) -> Settings:
        begun.append(own_settings(folder))
        stack.start_part(begun[-1], "postgres")
        return begun[-1]

    yield start
    for settings in begun:
        stack.stop(settings)
        paths.remove(settings)


@pytest.fixture(scope="module")
def one(begin: Begin, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The stack that most of this is done to."""
    return begin(tmp_path_factory.mktemp("one"))


def identity(settings: Settings) -> object:
    """What PostgreSQL answers only from this data."""
    with postgres.connect(settings) as connection:
        return connection.execute("SELECT system_identifier FROM pg_control_system()").fetchone()


def test_a_second_one_on_the_same_ports_is_told_which_and_what_to_type(one, tmp_path):
    second = own_settings(tmp_path / "second", postgres_port=one.postgres_port)
    answer = command(second, "up")
    assert answer.returncode == 1
    pid = stack.pids(one)["postgres"]
    assert f"postgres: port {one.postgres_port} is in use by process {pid} (postgres)" in answer.stderr
    to_type = answer.stderr.partition("what to type: ")[2]  # after what puts it on the path, where it is not
    assert f"WARDSTREAM_POSTGRES_PORT={one.postgres_port + 1000} wardstream up" in to_type
    assert not in_the_process_table(second)


def test_later_commands_know_the_ports_that_one_start_was_given(one):
    assert one.postgres_port != Settings.model_fields["postgres_port"].default
    assert Settings(state_dir=one.state_dir).postgres_port == one.postgres_port


def test_two_side_by_side(begin, one, tmp_path):
    # the marker of the second one's processes ends like that of the first one's
    two = begin(Path(f"{tmp_path / 'two@'}{one.state_dir.parent}"))
    assert str(two.state_dir).endswith(f"@{one.state_dir}")
    assert identity(one) != identity(two)
    before = processes(one)
    assert before
    answer = command(two, "down")
    assert answer.returncode == 0, answer.stderr
    assert not in_the_process_table(two)
    stack.start_part(two, "postgres")
    others = manager.manager_pid(two), stack.pids(two)  # their children may end at any time
    answer = command(one, "down")
    assert answer.returncode == 0, answer.stderr
    assert not [process for process in before if process.is_running()]
    assert (manager.manager_pid(two), stack.pids(two)) == others and identity(two)
    stack.stop(two)


@pytest.mark.parametrize("off", ["reboot", "killed manager"])
def test_down_ends_all_of_it_and_nobody_else(one, off):
    stack.start_part(one, "postgres")
    with innocent() as somebody:
        if off == "reboot":
            switch_off(one, somebody.pid)
        else:
            pid = manager.manager_pid(one)
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
        answer = command(one, "down")
        assert answer.returncode == 0, answer.stderr
        assert not in_the_process_table(one)
        assert not (one.state_dir / "run").exists() and not paths.socket_file(one).exists()
        stack.start_part(one, "postgres")
        assert identity(one)
        assert somebody.poll() is None


def test_a_server_that_lives_keeps_its_pid_file(one):
    data = postgres.home(one) / "data"
    running = postgres.running(data)
    assert running is not None and running.pid == stack.pids(one)["postgres"]
    postgres.prepare(one)
    assert (data / "postmaster.pid").exists()


def test_data_of_another_user_is_named(one):
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    stack.stop(one)
    data = postgres.home(one) / "data"
    owner = data.stat().st_uid
    os.chown(data, 4321, -1)
    with pytest.raises(stack.StackError, match=rf"belongs to user 4321, and the server would run as user {owner}"):
        stack.start_part(one, "postgres")
    os.chown(data, owner, -1)


AS_USER = f"""
import os, pathlib, sys
from wardstream import stack
from wardstream.settings import Settings
from wardstream.stack import manager
from wardstream.stack.parts import postgres
settings = Settings()
assert os.geteuid() == {pwd.getpwnam(USER).pw_uid}, "not root"
stack.start_part(settings, "postgres")
with postgres.connect(settings) as connection:
    assert connection.execute("SELECT 1").fetchone() == (1,)
pids = stack.pids(settings)
assert {{pathlib.Path(f"/proc/{{pid}}").stat().st_uid for pid in pids.values()}} == {{os.geteuid()}}
assert postgres.home(settings).is_relative_to(settings.state_dir)
stack.stop(settings)
assert not manager.leftovers(settings)
print("well")
"""


def _as_user(settings: Settings, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run python with `arguments` as USER; skips where that cannot be."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else; that an ordinary user can run it, all tests show then")
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no mount namespaces here")
    if not paths.others_can_reach(PROJECT_ROOT):
        pytest.skip(f"{PROJECT_ROOT} is private to root")
    values = {**env.environment(settings), "HOME": str(home), "PATH": os.environ["PATH"], "WARDSTREAM_SPARK_JARS": ""}
    return subprocess.run(
        [*_where_it_reaches_python(), *arguments],
        cwd=PROJECT_ROOT,
        env=values,
        capture_output=True,
        text=True,
        check=False,
    )


def _where_it_reaches_python() -> list[str]:
    """A command that runs python as USER, in mounts of its own where root's home does not hide the interpreter."""
    base = Path(sys.base_prefix)
    first = Path(base.parts[0], base.parts[1])
    lines = []
    if not paths.others_can_reach(base / "bin"):
        keep = "/mnt"
        lines = [
            f"mount --bind {shlex.quote(str(base))} {keep}",
            f"mount -t tmpfs -o mode=755 tmpfs {shlex.quote(str(first))}",
            f"mkdir -p {shlex.quote(str(base))}",
            f"mount --bind {keep} {shlex.quote(str(base))}",
        ]
    lines.append(f'exec setpriv --reuid {USER} --regid {pwd.getpwnam(USER).pw_gid} --clear-groups "$@"')
    command = ["unshare", "--mount", "sh", "-ec", "\n".join(lines), "sh"]
    return [*command, sys.executable]


def test_an_ordinary_user_with_a_private_home():
    home = Path(tempfile.mkdtemp(prefix="a private home ", dir="/var/tmp"))
    settings = own_settings(home, cache_dir=home / "cache", short_dir=Path("/var/tmp"))
    try:
        if os.geteuid() == 0:
            entry = pwd.getpwnam(USER)
            os.chown(home, entry.pw_uid, entry.pw_gid)
        home.chmod(0o700)
        done = _as_user(settings, home, "-c", AS_USER)
        assert done.stdout == "well\n", done.stdout + done.stderr
        assert not in_the_process_table(settings)
    finally:
        stack.stop(settings)
        shutil.rmtree(home)


@pytest.mark.parametrize("asked", ["status", "logs", "env", "up", "down"])
def test_another_user_is_told_whose_stack_it_is(one, asked):
    done = _as_user(one, Path("/var/tmp"), "-m", "wardstream.stack.stack_commands", asked)
    assert done.returncode == 1 and done.stdout == ""
    assert "a stack belongs to the user who started it first" in done.stderr
    assert "WARDSTREAM_STATE_DIR=/another/folder" in done.stderr and "Traceback" not in done.stderr
