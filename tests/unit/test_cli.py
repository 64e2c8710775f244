"""Commands that become another program: what they say while there is no stack."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.stack.conftest import free_ports


@pytest.mark.parametrize("words", [["psql"], ["psql", "--owner", "-c", "SELECT 1"], ["airflow", "dags", "list"]])
def test_without_postgresql_the_command_says_what_to_type(words: list[str], tmp_path: Path) -> None:
    port = str(free_ports(1)[0])
    values = {**os.environ, "WARDSTREAM_POSTGRES_PORT": port, "WARDSTREAM_STATE_DIR": str(tmp_path / "never started")}
    command = [sys.executable, "-m", "wardstream.cli", *words]
    done = subprocess.run(command, env=values, capture_output=True, text=True, check=False)
    first, second = done.stderr.splitlines()
    assert first == f"{words[0]}: PostgreSQL does not answer on port {port}"
    assert second.endswith("wardstream up")
    assert done.returncode == 1
