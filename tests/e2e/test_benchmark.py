"""The benchmark end to end, in its smallest form: a stack of its own, one case, one peer. No time is asserted."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks import run as running
from benchmarks.compare import compare
from benchmarks.forms import TINY
from benchmarks.own_stack import OwnStack
from benchmarks.report import read, write
from tests.e2e.hospital import wait_for
from wardstream.settings import PROJECT_ROOT

CASE = "backlog_labs"
pytestmark = pytest.mark.campaign  # three minutes: make test has the benchmark's unit tests


@dataclasses.dataclass
class Ran:
    """A run, and what was seen of it."""

    report: dict[str, Any]
    said: list[str]
    folder: Path
    ledger: tuple[int, int, int, int]
    """Offsets, received, stored and the rows of history, before the stack went."""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    folder, said, seen = tmp_path_factory.mktemp("bench"), list[str](), list[tuple[int, int, int, int]]()
    measure = running._measure

    def look_at_the_end(bench: Any) -> Any:
        result = measure(bench)
        seen.append(_account(bench.stack))
        return result

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(running, "_measure", look_at_the_end)
        report = running.run(TINY, said.append, folder)
    yield Ran(report, said, folder, seen[0])


def _account(stack: OwnStack) -> tuple[int, int, int, int]:
    row = stack.rows(
        "SELECT (SELECT sum(next_offset) FROM ops.ledger), (SELECT sum(received) FROM ops.ledger_ranges),"
        " (SELECT sum(stored) FROM ops.ledger_ranges), (SELECT count(*) FROM history.labs)"
    )[0]
    return tuple(int(value) for value in row)  # type: ignore[return-value]


def test_every_event_was_committed_and_the_peer_stored_them_all(ran):
    assert ran.report["failures"] == []  # the case compares the rows of the peer with the keys of the messages
    assert ran.ledger == (TINY.backlog,) * 4
    for figure in (f"{CASE}.stream.events_per_second", f"{CASE}.consumer_fastavro.events_per_second"):
        assert ran.report["figures"][figure]["median"] > 0


def test_the_report_says_what_was_measured_where_and_on_what(ran, tmp_path):
    found = read(write(ran.report, tmp_path))
    assert found == json.loads(json.dumps(ran.report))
    assert found["form"] == "tiny" and found["peers"] == ["consumer_fastavro"]
    assert {"class", "cpu", "cores", "memory_gib", "versions", "python"} <= found["machine"].keys()
    assert [each["case"] for each in found["calibration"]] == [CASE]
    assert min(found["calibration"][0][when] for when in ("before", "after")) > 0
    for figure in found["figures"].values():
        assert figure["unit"] and figure["better"] in ("higher", "lower", "neither")
        assert len(figure["values"]) >= 1
    measured = {target["name"] for target in found["targets"] if target["holds"] is not None}
    assert measured == {"labs backlog / plain consumer"}
    parts = {name.split(".")[2] for name in found["figures"] if name.endswith(".cpu_per_million")}
    assert {"kafka", "postgres", "stream_jvm", "stream_driver", "stream_python_worker", "all"} <= parts
    assert not compare(found, found).worse


def processes_of(folder: Path) -> list[list[str]]:
    """Command lines that name the folder."""
    lines = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    return [line for line in lines if any(str(folder) in word for word in line)]


def test_nothing_is_left(ran):
    assert list(ran.folder.iterdir()) == []
    assert processes_of(ran.folder) == []


def test_an_interrupted_run_leaves_nothing_either(tmp_path):
    """Ctrl-C in the middle of starting: what had started by then is stopped."""
    command = [sys.executable, "-m", "benchmarks", "run", "--form", "tiny", "--folder", str(tmp_path)]
    with subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.DEVNULL) as process:
        wait_for("a server of the benchmark", lambda: list(tmp_path.glob("*/state/run/kafka.life")), 60)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert list(tmp_path.iterdir()) == []
    assert [line for line in processes_of(tmp_path) if line != command] == []
