"""Adding a part is one file and one line in the list: here a small HTTP server is added to a copy of the package.

It is optional, brings a port, a page with a login, a Python package of its own and a memory limit, and needs the
registry. All that is asked here is asked by the commands of that copy, none of which was told about the part.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.stack.conftest import free_ports, own_settings
from tests.integration.stack.machine import in_the_process_table, wait
from wardstream import stack
from wardstream.settings import PROJECT_ROOT, Settings
from wardstream.stack import manager, paths

PART = '''"""Made up by a test."""

import urllib.error
import urllib.request
from pathlib import Path

from wardstream.settings import Settings
from wardstream.stack import environments
from wardstream.stack.part import Launch, Page, Part
from wardstream.stack.paths import folder
from wardstream.stack.secret_files import ensure_secret

SERVER = """
import http.server, importlib.metadata, os, sys
kept = []
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(importlib.metadata.version("iniconfig").encode())
        if self.path == "/eat":
            kept.append(bytearray(os.urandom(150 << 20)))
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


class MadeUp(Part):
    """A page that says which version of a package it has."""

    name = "made-up"
    optional = True
    own_ports = {"made_up_port": 18990}
    needs = ("registry",)
    requirements = Path(__file__).parent / "requirements" / "made-up.txt"

    def most_memory(self, settings: Settings) -> int:
        return 100 << 20

    def version(self) -> str:
        return "0.7"

    def prepare(self, settings: Settings) -> None:
        ensure_secret(settings, "made_up")

    def launch(self, settings: Settings) -> Launch:
        argv = [environments.python(settings, self), "-c", SERVER, str(self.port(settings))]
        return Launch(argv, cwd=folder(settings, "made-up"))

    def ready(self, settings: Settings) -> bool:
        try:
            return urllib.request.urlopen(self.page(settings).url, timeout=2).status == 200
        except OSError:
            return False

    def page(self, settings: Settings) -> Page:
        return Page("Made up", f"http://127.0.0.1:{self.port(settings)}", "nurse", "made_up", variable="MADE_UP")


PARTS = [MadeUp()]
'''
REQUIREMENTS = """iniconfig==2.0.0 \\
    --hash=sha256:2d91e135bf72d31a410b17c16da610a82cb55f6b0477d1a902134b24a455b8b3 \\
    --hash=sha256:b6a85871a79d2e3b22d2d1b94ac2824226a63c6b741c88f7ae975f18b6778374
"""
BESIDE = ("schemas", "sql", "dags", "spark_jobs")
UNSAID = ("WARDSTREAM_WITH", "WARDSTREAM_PART_PORTS", "WARDSTREAM_MEMORY_LIMITS")


class Clone:
    """The copy with the part in it, and a stack of its own."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.settings = settings
        self.port = free_ports(1)[0]
        self._folder = folder
        shutil.copytree(
            PROJECT_ROOT / "wardstream", folder / "wardstream", ignore=shutil.ignore_patterns("__pycache__")
        )
        for name in BESIDE:
            (folder / name).symlink_to(PROJECT_ROOT / name)
        in_copy = folder / "wardstream" / "stack" / "parts"
        (in_copy / "made_up.py").write_text(PART)
        (in_copy / "requirements").mkdir(exist_ok=True)
        (in_copy / "requirements" / "made-up.txt").write_text(REQUIREMENTS)
        listed = (in_copy / "__init__.py").read_text()
        assert listed.count('    "airflow",\n') == 1
        (in_copy / "__init__.py").write_text(listed.replace('    "airflow",\n', '    "airflow",\n    "made_up",\n'))

    def run(self, *words: str, module: str = "wardstream.cli", **env: str) -> subprocess.CompletedProcess[str]:
        """`wardstream …` of the copy, as a user types it; or another module."""
        values = {**os.environ, **stack.environment(self.settings), "PYTHONPATH": str(self._folder), **env}
        values = {name: value for name, value in values.items() if name not in UNSAID or name in env}
        return subprocess.run(
            [sys.executable, *(("-m", module) if module else ()), *words],
            cwd=self._folder,
            env=values,
            capture_output=True,
            text=True,
            check=False,
        )

    def forget_packages(self) -> None:
        """Its environment lies in the user's cache."""
        for place in (self.settings.cache_dir / "environments").glob("made-up-*"):
            shutil.rmtree(place)

    def up(self, *words: str, **env: str) -> str:
        done = self.run("up", "--no-stream", *words, **env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def rows(self) -> dict[str, Any]:
        return {row["part"]: row for row in json.loads(self.run("status", "--json").stdout)["parts"]}

    def row(self) -> dict[str, Any]:
        found: dict[str, Any] = self.rows().get("made-up", {})
        return found

    def page(self, path: str = "/") -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            return str(answer.read().decode())


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    """Everything runs but the stream and Airflow; the part was given its port once, at the first start."""
    folder = tmp_path_factory.mktemp("a clone")
    made = Clone(folder, own_settings(folder))
    made.forget_packages()
    try:
        with _listening(made.port):
            _names_a_busy_port(made)
        # the line to type does not name the part again
        done = made.run("up", "--no-stream", WARDSTREAM_MADE_UP_PORT=str(made.port))
        if "index cannot be reached" in done.stderr and "CI" not in os.environ:
            pytest.skip("no package index can be reached")
        assert done.returncode == 0, done.stderr
        assert f"ready on port {made.port}" in done.stdout and "made-up-packages installed" in done.stdout
        yield made
    finally:
        made.run("down")
        made.forget_packages()
        paths.remove(made.settings)


@contextlib.contextmanager
def _listening(port: int) -> Iterator[None]:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        yield


def _names_a_busy_port(clone: Clone) -> None:
    done = clone.run("up", "--with", "made-up", WARDSTREAM_MADE_UP_PORT=str(clone.port))
    assert done.returncode == 1
    assert f"made-up: port {clone.port} is in use by process {os.getpid()}" in done.stderr
    assert re.search(r"what to type: .*WARDSTREAM_MADE_UP_PORT=\d+ wardstream up", done.stderr)


def test_status_shows_it(clone):
    row = clone.row()
    assert row["healthy"] and row["state"] == "running" and row["pid"]
    assert row["port"] == clone.port and row["version"] == "0.7" and row["memory_bytes"] > 2**20
    assert re.search(rf"made-up +running +yes +{row['pid']} +{clone.port} +0\.7", clone.run("status").stdout)
    assert clone.page() == "2.0.0"  # of the package that only it has


def test_env_and_the_last_lines_of_the_demo_show_it(clone):
    shown = dict(re.findall(r"export (\w*MADE_UP\w*)='([^']*)'", clone.run("env").stdout))
    password = clone.settings.password("made_up")
    address = f"http://127.0.0.1:{clone.port}"
    assert shown == {
        "WARDSTREAM_MADE_UP_PORT": str(clone.port),
        "WARDSTREAM_MADE_UP_URL": address,
        "WARDSTREAM_MADE_UP_USER": "nurse",
        "WARDSTREAM_MADE_UP_PASSWORD": password,
    }
    code = "from wardstream.settings import *; from wardstream.stack.access import *; print(*pages(get_settings()))"
    lines = " ".join(clone.run("-c", code, module="").stdout.split())
    assert f"{address} Made up: user nurse, password {password}" in lines
    assert clone.run("logs", "made-up").returncode == 0
    assert "made-up" in clone.run("up", "--help").stdout


def test_a_second_start_changes_nothing_and_keeps_it(clone):
    before = clone.row()["pid"]
    assert "made-up" in clone.up()
    assert clone.row()["pid"] == before


def test_killed_it_comes_back(clone):
    before = clone.row()["pid"]
    os.kill(before, signal.SIGKILL)
    assert wait(lambda: (row := clone.row())["healthy"] and row["pid"] != before, 20)


def test_over_its_memory_limit_it_is_restarted_and_the_log_says_so(clone):
    rows = clone.rows()
    clone.page("/eat")
    assert wait(lambda: (row := clone.row())["healthy"] and row["pid"] != rows["made-up"]["pid"], 30)
    (line,) = (line for line in clone.run("logs", "memory-guard").stdout.splitlines() if "made-up" in line)
    assert re.search(r"WARNING made-up takes \d+ MiB, more than its limit of 100 MiB: it is restarted", line)
    after = clone.rows()
    assert all(after[part]["pid"] == rows[part]["pid"] for part in ("postgres", "kafka", "registry"))


def test_the_limit_is_a_setting(clone):
    before = clone.rows()
    clone.up(WARDSTREAM_MEMORY_LIMITS="made-up=1g")
    after = clone.rows()
    assert after["made-up"]["pid"] != before["made-up"]["pid"]
    assert after["kafka"]["pid"] == before["kafka"]["pid"]
    spec = json.loads((clone.settings.state_dir / "run" / "made-up.json").read_text())
    assert spec["memory_limit"] == 1 << 30


def test_a_killed_memory_guard_comes_back(clone):
    life = clone.settings.state_dir / "run" / "memory-guard.life"
    before = json.loads(life.read_text())["session"]
    os.kill(before, signal.SIGKILL)
    assert wait(lambda: json.loads(life.read_text())["session"] != before, 20)


def test_no_longer_asked_for_it_ends_and_nothing_shows_it(clone):
    assert "stopped made-up, which is no longer asked for" in clone.up("--with", "none")
    assert "made-up" not in clone.rows() and "MADE_UP" not in clone.run("env").stdout
    with pytest.raises(OSError):
        clone.page()
    assert "made-up" not in clone.up()
    clone.up(WARDSTREAM_WITH="made-up")
    assert clone.row()["healthy"]


def test_a_misspelt_name_is_told(clone):
    done = clone.run("up", "--with", "mad-up")
    assert done.returncode == 1 and "mad-up is no optional part; there are: made-up" in done.stderr


def test_down_leaves_nothing(clone):
    assert clone.run("down").returncode == 0
    assert not in_the_process_table(clone.settings) and not manager.leftovers(clone.settings)
    assert not (clone.settings.state_dir / "run").exists()
    assert clone.row()["state"] == "stopped"  # it was asked for last, and so belongs to the stack
