"""`pip install .` into an empty environment: a `wardstream` that works far from any clone.

What it makes of the sample is what an earlier version made of it (golden/README.md).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.golden.fingerprints import differences
from tests.integration.stack.conftest import own_settings
from wardstream.database.connection import connect
from wardstream.settings import PROJECT_ROOT, Settings, get_settings
from wardstream.stack.env import environment

NOT_COPIED = (".venv", ".git", ".wardstream", "build", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis")
PARSE = """
import sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(dag_folder=sys.argv[1])
assert not bag.import_errors, bag.import_errors
print(*sorted(bag.dags))
"""
Wardstream = Callable[..., str]


def run(*command: str | Path, cwd: Path, env: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=cwd, env=env, text=True, capture_output=True, timeout=900, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a new virtual environment that the package was installed into, from a copy of the tree."""
    folder = tmp_path_factory.mktemp("installed")
    source = shutil.copytree(PROJECT_ROOT, folder / "source", ignore=shutil.ignore_patterns(*NOT_COPIED))
    env = dict(os.environ)
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder, env=env)
    cache = get_settings().cache_dir / "packages"
    install = (Path(sys.executable).with_name("uv"), "--quiet", "--cache-dir", cache, "pip", "install")
    into = ("--python", folder / "venv" / "bin" / "python", source)
    # What the cache has is not asked for again, as in the Makefile.
    if subprocess.run([*install, "--offline", *into], env=env, capture_output=True, check=False).returncode:
        run(*install, *into, cwd=folder, env=env)
    shutil.rmtree(source)
    return folder / "venv" / "bin"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Where the stack is, that the installed one starts."""
    return own_settings(tmp_path)


@pytest.fixture
def elsewhere(settings: Settings, tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A folder with nothing in it, and an environment that names nothing of the clone."""
    theirs = environment(settings)
    ours = {name: value for name, value in theirs.items() if name.endswith(("_PORT", "_STATE_DIR"))}
    known = {name: value for name, value in os.environ.items() if name not in theirs and name != "PYTHONPATH"}
    folder = tmp_path / "work"
    folder.mkdir()
    return folder, {**known, **ours, "WARDSTREAM_AIRFLOW": "false"}


def test_the_whole_way(installed: Path, elsewhere: tuple[Path, dict[str, str]], settings: Settings):
    folder, env = elsewhere

    def wardstream(*words: str) -> str:
        return run(installed / "wardstream", *words, cwd=folder, env=env)

    assert "are in order" in wardstream("contracts", "check")
    try:
        wardstream("up")
        wardstream("replay", "sample")
        assert "nothing lost, nothing twice" in wardstream("verify")
        wardstream("daily")
        assert int(wardstream("psql", "-Atc", "SELECT count(*) FROM mart.daily_labs")) > 0
        core_and_mart_are_as_before(settings)
        assert not any(folder.iterdir()), "nothing is left where a command was typed"
    finally:
        wardstream("down")
        wardstream("reset", "--yes")


def core_and_mart_are_as_before(settings: Settings) -> None:
    """All of it; and one value of one person would be seen, and named without being shown."""
    with connect(settings.owner_url, "wardstream test") as conn:
        found = differences(conn, "sample")
        assert not found, "\n".join(found)
        with conn.transaction(force_rollback=True):
            conn.execute(
                "UPDATE core.patients SET gender = 'U' WHERE patient_id = (SELECT min(patient_id) FROM core.patients)"
            )
            assert differences(conn, "sample") == [
                f"sample, {name}: 300 rows, now 300; differ in: gender" for name in ("core.patients", "mart.patients")
            ]


def test_dags_travel(installed: Path, elsewhere: tuple[Path, dict[str, str]]):
    folder, env = elsewhere
    where = "from wardstream.settings import get_settings; print(get_settings().dags_dir)"
    dags = run(installed / "python", "-c", where, cwd=folder, env=env).strip()
    assert Path(dags).is_relative_to(installed.parent)
    env["AIRFLOW_HOME"] = str(folder / "airflow")
    said = run(installed / "python", "-c", PARSE, dags, cwd=folder, env=env)
    assert set(said.split()) >= {path.stem for path in (PROJECT_ROOT / "dags").glob("*_dag.py")}


def test_a_folder_of_ones_own_overrides(installed: Path, elsewhere: tuple[Path, dict[str, str]], tmp_path: Path):
    folder, env = elsewhere
    own = shutil.copytree(PROJECT_ROOT / "schemas", tmp_path / "schemas")
    (own / "labs" / "contract.yaml").unlink()
    env["WARDSTREAM_SCHEMAS_DIR"] = str(own)
    done = subprocess.run(
        [installed / "wardstream", "contracts", "check"], cwd=folder, env=env, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert str(own) in done.stderr
