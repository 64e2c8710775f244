"""The tables of schema history follow the contracts: made, extended and described by `wardstream migrate`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.commit.bench import Bench
from tests.integration.commit.facts import lab
from tests.integration.conftest import another_database
from wardstream.database.check import check_database
from wardstream.database.connection import Connection, columns_of, connect, types_of
from wardstream.database.migrate import migrate
from wardstream.database.plan_error import PlanError
from wardstream.settings import Settings

FILE = "SELECT pg_relation_filenode('history.labs')"
COMMENT = "SELECT col_description(attrelid, attnum) FROM pg_attribute WHERE attrelid = %s::regclass AND attname = %s"

Change = Callable[[dict[str, Any], dict[str, Any]], None]
"""Given the properties of contract.yaml by name, and the schema."""


@pytest.fixture
def settings(server: Settings, tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    """A migrated database, and copies of schemas/ and sql/ to be changed."""
    folders = {
        f"{name}_dir": shutil.copytree(getattr(server, f"{name}_dir"), tmp_path / name) for name in ("schemas", "sql")
    }
    settings = another_database(server, request.node.name.removeprefix("test_")[:40]).model_copy(update=folders)
    migrate(settings)
    return settings


def edit(settings: Settings, topic: str, change: Change, version: int) -> None:
    """Change contract.yaml's properties and the latest schema, which is written as `version`."""
    folder = settings.schemas_dir / topic
    document = yaml.safe_load((folder / "contract.yaml").read_text())
    schema = json.loads(max((folder / "value").glob("*.avsc")).read_text())
    change({prop.get("name"): prop for prop in document["schema"][0]["properties"]}, schema)
    (folder / "value" / f"v{version}.avsc").write_text(json.dumps(schema))
    (folder / "contract.yaml").write_text(yaml.safe_dump(document, sort_keys=False))


def add(name: str, kind: Any) -> Change:
    """A nullable field more; contract.yaml need not say more for what is tested here."""
    return lambda _, schema: schema["fields"].append({"name": name, "type": ["null", kind], "default": None})


def comment(conn: Connection, table: str, column: str) -> str | None:
    row = conn.execute(COMMENT, [table, column]).fetchone()
    return row[0] if row else None


def test_a_new_field_is_a_column_more_and_no_row_is_rewritten(settings):
    Bench(settings).commit(lab("old", "resulted", 1))
    with connect(settings.owner_url, "test") as conn:
        before, file = columns_of(conn, "history", "labs"), conn.execute(FILE).fetchone()
        edit(settings, "labs", add("analyser", "string"), 2)
        place = {"type": "record", "name": "Place", "fields": [{"name": "room", "type": "string"}]}
        edit(settings, "labs", add("place", place), 3)
        migrate(settings)
        assert columns_of(conn, "history", "labs") == [*before, "analyser", "place"]
        assert types_of(conn, "history.labs")["place"] == "jsonb"
        assert conn.execute(FILE).fetchone() == file
        bench = Bench(settings)
        topic, body = lab("new", "resulted", 2)
        bench.commit((topic, {**body, "analyser": "A1", "place": {"room": "12"}}))
        assert bench.rows("SELECT analyser, place ->> 'room' FROM history.labs ORDER BY recorded_at") == [("A1", "12")]
    assert migrate(settings) == []


def test_a_version_that_is_gone_is_said(settings):
    edit(settings, "labs", add("analyser", "string"), 2)
    migrate(settings)
    assert check_database(settings) == []
    (settings.schemas_dir / "labs" / "value" / "v2.avsc").unlink()
    migrate(settings)
    (fault,) = check_database(settings)
    assert fault.startswith("schemas/labs/value: its latest version lacks analyser, which history.labs has; bring back")


def test_what_was_there_stays_when_a_column_comes(settings):
    bench = Bench(settings)
    bench.commit(lab("old", "resulted", 1))
    was = bench.rows("SELECT to_jsonb(h) FROM history.labs h")
    edit(settings, "labs", add("analyser", "string"), 2)
    migrate(settings)
    assert bench.rows("SELECT to_jsonb(h) - 'analyser' FROM history.labs h") == was
    assert bench.rows("SELECT analyser FROM history.labs") == [(None,)]


def test_another_type_is_refused_with_what_to_do(settings):
    edit(settings, "labs", add("analyser", "string"), 2)
    migrate(settings)
    (settings.schemas_dir / "labs" / "value" / "v2.avsc").unlink()
    edit(settings, "labs", add("analyser", "long"), 2)
    with pytest.raises(
        PlanError, match=r"history\.labs: column analyser is text, but its facts come as bigint; cast it"
    ):
        migrate(settings)


def test_what_an_event_may_leave_out_now_may_be_null(settings):
    def loosen(properties: dict[str, Any], schema: dict[str, Any]) -> None:
        del properties["encounter_id"]["required"]

    edit(settings, "diagnoses", loosen, 1)
    migrate(settings)
    with connect(settings.owner_url, "test") as conn:
        query = "SELECT attname FROM pg_attribute WHERE attrelid = 'history.diagnoses'::regclass AND attnotnull"
        found = {name for (name,) in conn.execute(query)}
    assert "encounter_id" not in found and {"diagnosis_id", "patient_id", "topic_id"} <= found


def test_a_topic_that_transforms_what_it_stores(settings):
    sent = Bench(settings).plan.history["labs"]
    (settings.sql_dir / "commit").mkdir()
    query = f"SELECT q.*, upper(q.unit) AS unit_in_capitals FROM (\n{sent}\n) AS q"
    (settings.sql_dir / "commit" / "labs.sql").write_text(query)
    migrate(settings)
    bench = Bench(settings)
    topic, body = lab("x", "resulted", 1)
    bench.commit((topic, {**body, "unit": "mg/dl"}))
    assert bench.rows("SELECT unit, unit_in_capitals FROM history.labs") == [("mg/dl", "MG/DL")]
    (settings.sql_dir / "commit" / "labs.sql").write_text(query.replace("upper(", "up("))
    with pytest.raises(PlanError, match=r"sql/commit/labs\.sql, line 1: function up\(text\) does not exist"):
        migrate(settings)


def test_a_field_is_described_once(settings):
    """From the contract to history, core and mart; the fold's own word for a column of core goes before it."""

    def describe(properties: dict[str, Any], schema: dict[str, Any]) -> None:
        properties["unit"]["description"] = "The unit,\n as somebody's laboratory sent it."
        properties["flag"]["description"] = "Not this."

    edit(settings, "labs", describe, 1)
    fold = settings.sql_dir / "folds" / "lab_results.sql"
    fold.write_text(fold.read_text().replace("-- column status", "-- column flag: The fold's word.\n-- column status"))
    migrate(settings)
    with connect(settings.owner_url, "test") as conn:
        for table in ("history.labs", "core.lab_results", "mart.labs"):
            assert comment(conn, table, "unit") == "The unit, as somebody's laboratory sent it."
        assert comment(conn, "history.labs", "flag") == "Not this."
        assert comment(conn, "core.lab_results", "flag") == comment(conn, "mart.labs", "flag") == "The fold's word."
        assert "the day it counts on" in (comment(conn, "mart.labs", "observed_day") or ""), "of the migration"
