"""docs/files_touched.py: how few files a change takes, and that a database takes each change as it stands there."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from tests.integration.commit.bench import Bench
from tests.integration.conftest import another_database
from wardstream.contracts.examples import load_examples
from wardstream.daily.check import check_marts
from wardstream.database.connection import columns_of, connect
from wardstream.database.migrate import migrate
from wardstream.settings import PROJECT_ROOT, Settings


@pytest.fixture(scope="module")
def changes() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("files_touched", PROJECT_ROOT / "docs" / "files_touched.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def copy(server: Settings, tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    """A migrated database, and a copy of the folders that the script changes."""
    for name in ("schemas", "sql", "wardstream"):
        shutil.copytree(PROJECT_ROOT / name, tmp_path / name)
    folders = {"schemas_dir": tmp_path / "schemas", "sql_dir": tmp_path / "sql"}
    settings = another_database(server, request.node.name.removeprefix("test_")[:40]).model_copy(update=folders)
    migrate(settings)
    return settings


def test_how_many_files(changes: ModuleType):
    counts = {change.__name__: len(changes.touched(change)) for change in changes.CHANGES.values()}
    assert counts == {"field_of_history": 3, "field_of_core_and_mart": 6, "topic": 8, "mart_table": 6, "part": 2}


def test_a_field_of_core_and_mart(changes: ModuleType, copy: Settings):
    changes.field_of_core_and_mart(copy.sql_dir.parent)
    migrate(copy)
    with connect(copy.owner_url, "test") as conn:
        assert columns_of(conn, "core", "lab_results")[-1] == columns_of(conn, "mart", "labs")[-1] == "analyser"
    bench = Bench(copy)
    event = next(load_examples(copy.schemas_dir / "labs", bench.contracts["labs"])).event
    bench.commit(("labs", {**event, "kind": "resulted", "analyser": "A1"}))
    assert bench.rows("SELECT analyser FROM mart.labs") == [("A1",)]


def test_a_topic(changes: ModuleType, copy: Settings):
    changes.topic(copy.sql_dir.parent)
    assert migrate(copy)[-1].endswith(f".{changes.TOPIC}")
    bench = Bench(copy)
    for example in load_examples(copy.schemas_dir / changes.TOPIC, bench.contracts[changes.TOPIC]):
        bench.commit((changes.TOPIC, example.event))
    found = "row_id, status, heart_rate, body_temperature, unit, observed_day::text"
    assert bench.rows(f"SELECT {found} FROM mart.{changes.TOPIC}") == [
        ("X-1", "final", 1.5, 1.5, "example", "2026-03-02")
    ]
    assert bench.rows("SELECT topic, reason FROM ops.quarantine") == [(changes.TOPIC, "missing:row_id")]
    assert bench.not_as_folded() == []
    uncommented = "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0"
    for table in (f"{schema}.{changes.TOPIC}" for schema in ("history", "core", "mart")):
        assert bench.rows(f"{uncommented} AND col_description(attrelid, attnum) IS NULL", table) == []


def test_a_daily_table(changes: ModuleType, copy: Settings):
    changes.mart_table(copy.sql_dir.parent)
    migrate(copy)
    with connect(copy.writer_url, "test") as conn:
        assert check_marts(conn, copy.sql_dir) == []
