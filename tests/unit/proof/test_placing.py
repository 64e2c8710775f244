"""A process of verify that dies at its start, as one that is out of memory does."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import os

from wardstream.database.plan_error import PlanError
from wardstream.proof import placing
from wardstream.proof.ranges import Piece


class Dies:
    def __reduce__(self):
        return os._exit, (1,)


if __name__ == "__main__":
    placing.cores = lambda: 2
    pieces = [Piece("labs", "id", 0, at, at + placing.CHUNK) for at in (0, placing.CHUNK)]
    try:
        list(placing.place_all([Dies(), bytes(1_000_000)], pieces))
    except PlanError as error:
        print(error)
"""


def test_a_process_that_dies_at_its_start_is_an_error(tmp_path):
    script = tmp_path / "dies.py"
    script.write_text(CODE)
    found = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=True)
    assert "a process that read for verify was ended" in found.stdout
