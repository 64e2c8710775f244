"""docs/tour.md as a newcomer follows it: its script, its commands, and what it says one then sees."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.hospital import Hospital, wait_for
from wardstream import stack
from wardstream.settings import PROJECT_ROOT
from wardstream.stack.env import environment

TOUR = (PROJECT_ROOT / "docs" / "tour.md").read_text()
MINE = "SELECT status, value_text FROM mart.labs WHERE lab_result_id = %s"


@pytest.fixture(scope="module")
def ward(hospital: Hospital) -> Hospital:
    hospital.empty()
    return hospital


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tour's own script."""
    (code,) = re.findall(r"^```python\n(.*?)^```", TOUR, re.DOTALL | re.MULTILINE)
    file = tmp_path_factory.mktemp("tour") / "send.py"
    file.write_text(code)
    return file


def run(ward: Hospital, *words: str) -> None:
    values = {**os.environ, **environment(ward.settings)}
    done = subprocess.run(
        [sys.executable, *words], cwd=PROJECT_ROOT, env=values, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def sends() -> list[list[str]]:
    """The words behind each `python send.py` of the tour, in order."""
    return [line.split()[2:] for line in re.findall(r"^python send\.py.*$", TOUR, re.MULTILINE)]


@pytest.mark.campaign
def test_the_tour(ward: Hospital, script: Path) -> None:
    first, corrected, late, again, nonsense, while_away, lost = sends()
    for words in (first, corrected, late, again, nonsense):
        run(ward, str(script), *words)
    tally = next(t for t in ward.verified().tallies if t.topic == "labs")
    assert (tally.stored, tally.duplicate, tally.quarantined) == (3, 1, 1)
    assert ward.rows(MINE, "tour-1") == [("corrected", "6.3")]
    assert ward.rows("SELECT reason FROM ops.quarantine") == [("not_allowed:kind",)]

    os.kill(stack.pids(ward.settings)["stream"], 9)
    run(ward, str(script), *while_away)
    wait_for("what was sent while the stream was away", lambda: ward.rows(MINE, "tour-2"))

    ward.must("stream", "stop")
    run(ward, str(script), *lost)
    (deletes,) = re.findall(r'^python -c "\n(.*?)"$', TOUR, re.DOTALL | re.MULTILINE)
    run(ward, "-c", deletes)
    ward.must("up")
    started = ward.cli("stream", "start")
    assert started.returncode == 1 and "recreated" in started.stderr
    ward.must("stream", "accept-gap", "--reason", "the tour", "--yes")
    assert any("the tour" in note for note in ward.verified().notes)
    assert ward.rows(MINE, "tour-1") and not ward.rows(MINE, "tour-lost")
