"""The script of docs/tour.md: clean by `make lint`, in whose folder it lies, and short when nothing answers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.own_stack import PORTS
from tests.integration.stack.conftest import free_ports
from wardstream.settings import PROJECT_ROOT

ELSEWHERE = {"KAFKA_BOOTSTRAP_SERVERS", "SCHEMA_REGISTRY_URL"}
(CODE,) = re.findall(
    r"^```python\n(.*?)^```", (PROJECT_ROOT / "docs" / "tour.md").read_text(), re.DOTALL | re.MULTILINE
)


@pytest.mark.parametrize("words", [["check"], ["format", "--check"]])
def test_it_leaves_make_lint_green(words: list[str]) -> None:
    command = [str(Path(sys.executable).with_name("ruff")), *words, "--stdin-filename", "send.py", "-"]
    done = subprocess.run(command, input=CODE, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_while_nothing_runs_it_ends_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "send.py").write_text(CODE)
    ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
    nowhere = {f"WARDSTREAM_{name.upper()}": port for name, port in ports.items()}
    servers = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
    values = {**servers, **nowhere, "WARDSTREAM_STATE_DIR": str(tmp_path / "none")}
    command = [sys.executable, str(tmp_path / "send.py")]
    done = subprocess.run(command, env=values, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "not sent: " in done.stderr.splitlines()[-1] and "`wardstream status`" in done.stderr
