"""`wardstream status` at work: once, again and again, on a terminal and elsewhere. No server runs."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.hospital import wait_for
from tests.integration.stack.conftest import own_settings
from wardstream.settings import PROJECT_ROOT, Settings
from wardstream.stack.env import environment


@pytest.fixture
def nothing_runs(tmp_path: Path) -> Settings:
    return own_settings(tmp_path)


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """A suite that was started in the background ignores SIGINT, and so would what it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def command(settings: Settings, *words: str) -> "tuple[list[str], dict[str, str]]":
    values = {**os.environ, **environment(settings), "COLUMNS": "80", "TERM": "xterm", "PYTHONUNBUFFERED": "1"}
    return [sys.executable, "-m", "wardstream.cli", "status", *words], values


def run(settings: Settings, *words: str) -> "subprocess.CompletedProcess[str]":
    argv, values = command(settings, *words)
    return subprocess.run(argv, env=values, cwd=PROJECT_ROOT, capture_output=True, text=True)


def test_once_and_the_exit_code_says_that_not_all_is_well(nothing_runs: Settings):
    done = run(nothing_runs)
    assert done.returncode == 1 and "stopped" in done.stdout and not done.stderr
    plain = json.loads(run(nothing_runs, "--json").stdout)
    assert [row["part"] for row in plain["parts"]] == ["postgres", "kafka", "registry", "stream"]
    assert plain["memory_bytes"] == 0 and plain["topics"] == plain["quarantine"] == []
    assert plain["parts"][3]["port"] == nothing_runs.metrics_port


def test_one_report_after_the_other_where_there_is_no_terminal(nothing_runs: Settings, tmp_path: Path):
    argv, values = command(nothing_runs, "--watch", "--every", "0.1")
    out = tmp_path / "out"
    with out.open("w") as file:
        watching = subprocess.Popen(argv, env=values, cwd=PROJECT_ROOT, stdout=file, stderr=subprocess.STDOUT)
    wait_for("three reports", lambda: out.read_text().count("postgres") >= 3, 60)
    watching.send_signal(signal.SIGINT)
    assert watching.wait(30) == 0
    assert "Traceback" not in out.read_text() and "\x1b" not in out.read_text() and " UTC\n" in out.read_text()


def test_for_programs_a_line_a_look(nothing_runs: Settings, tmp_path: Path):
    argv, values = command(nothing_runs, "--watch", "--json", "--every", "0.1")
    with subprocess.Popen(argv, env=values, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        looks = [json.loads(watching.stdout.readline()) for _ in range(2)]
        watching.send_signal(signal.SIGINT)
    assert watching.returncode == 0 and looks[0]["parts"] and looks[1]["parts"]


def test_on_a_terminal_it_stays_in_place_until_ctrl_c(nothing_runs: Settings):
    argv, values = command(nothing_runs, "--watch", "--every", "0.1")
    ours, theirs = pty.openpty()
    watching = subprocess.Popen(argv, env=values, cwd=PROJECT_ROOT, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = b""
    while said.count(b"\x1b[1A") < 20:  # it goes up again, to write over what it wrote
        said += os.read(ours, 65536)
    watching.send_signal(signal.SIGINT)
    try:
        while more := os.read(ours, 65536):
            said += more
    except OSError:
        pass  # the other end is closed
    os.close(ours)
    assert watching.wait(30) == 0
    assert b"postgres" in said and b"Traceback" not in said


def test_servers_elsewhere_are_shown_and_asked_and_no_password_is_printed(nothing_runs: Settings):
    theirs = nothing_runs.model_copy(
        update={
            "database_url": "postgresql://writer:s3cret@127.0.0.1:1/wardstream",
            "owner_database_url": "postgresql://owner:s3cret@127.0.0.1:1/wardstream",
            "kafka_bootstrap_servers": "127.0.0.1:2,127.0.0.1:3",
            "schema_registry_url": "http://me:s3cret@127.0.0.1:4/api",
        }
    )
    done = run(theirs)
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert done.returncode == 1 and "s3cret" not in done.stdout + done.stderr and not done.stderr
    for part, address in {
        "database": "127.0.0.1:1",
        "kafka": "127.0.0.1:2, 127.0.0.1:3",
        "registry": "127.0.0.1:4",
    }.items():
        assert f"{part} elsewhere no" in lines and f"{part}: {address}" in lines
    rows = json.loads(run(theirs, "--json").stdout)["parts"]
    assert [(row["part"], row["state"], row["healthy"], row["address"]) for row in rows][1:] == [
        ("database", "elsewhere", False, "127.0.0.1:1"),
        ("kafka", "elsewhere", False, "127.0.0.1:2,127.0.0.1:3"),
        ("registry", "elsewhere", False, "127.0.0.1:4"),
    ]
