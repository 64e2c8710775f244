"""Commit files and folds that cannot run are said by `up` and `contracts check --database`, with file and line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.integration.conftest import another_database
from wardstream.airflow.platform_setup import SetupError, apply_migrations
from wardstream.contracts import contract_commands
from wardstream.daily import queries
from wardstream.database.check import check_database
from wardstream.database.connection import connect
from wardstream.database.migrate import migrate
from wardstream.database.plan_error import PlanError
from wardstream.proof.rebuild import rebuild
from wardstream.settings import Settings


@pytest.fixture(scope="module")
def migrated(server: Settings) -> Settings:
    """One database for all cases: nothing is written to it."""
    settings = another_database(server, "tried")
    migrate(settings)
    return settings


@pytest.fixture
def settings(migrated: Settings, tmp_path: Path) -> Settings:
    """The database, and a copy of sql/ to be changed."""
    return migrated.model_copy(update={"sql_dir": shutil.copytree(migrated.sql_dir, tmp_path / "sql")})


def edit(settings: Settings, name: str, old: str, new: str) -> None:
    file = settings.sql_dir / name
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))


FAULTS = [
    ("folds/lab_results.sql", "h.test_name,", "h.test_nam,", "line 16: column h.test_nam does not exist"),
    ("folds/lab_results.sql", "    h.test_name,\n", "", ": it does not give test_name, which core.lab_results has"),
    ("folds/lab_results.sql", "h.unit,", "h.unit, 1 AS more,", ": it gives more, which core.lab_results does not have"),
    ("folds/lab_results.sql", "h.value_number,", "h.value_text AS value_number,", "expression is of type text"),
    ("folds/lab_results.sql", "FROM greatest_version", "FORM greatest_version", "syntax error at or near"),
    ("folds/lab_results.sql", "-- key: lab_result_id", "-- key: test_code", "is not part of the primary key"),
    ("folds/include/admission_facts.sql", "history.admissions", "history.admission", "does not exist"),
    ("marts/daily_labs/checks.sql", "SELECT", "SELEKT", "syntax error"),
]


def test_what_is_shipped_can_run(settings):
    assert check_database(settings) == []


@pytest.mark.parametrize(("name", "old", "new", "said"), FAULTS, ids=[f"{f[0]}: {f[2] or 'left out'}" for f in FAULTS])
def test_a_file_that_cannot_run_is_named(settings, name, old, new, said):
    edit(settings, name, old, new)
    faults = check_database(settings)
    assert faults and all(said in fault for fault in faults), faults
    assert all(name.rpartition("/")[2] in fault for fault in faults), faults
    with pytest.raises(SetupError, match=name.rpartition("/")[2]):
        apply_migrations(settings)


def test_the_line_is_that_of_the_included_file(settings):
    edit(settings, "folds/include/admission_facts.sql", "history.admissions", "history.admission")
    text = (settings.sql_dir / "folds/include/admission_facts.sql").read_text()
    line = text[: text.index("history.admission")].count("\n") + 1
    where = f'sql/folds/include/admission_facts.sql, line {line}: relation "history.admission" does not exist'
    assert check_database(settings) == [where, where], "two folds include it"


def test_a_table_that_lacks_a_column_is_said(settings):
    with connect(settings.owner_url, "test") as conn:
        conn.execute("ALTER TABLE history.labs DROP COLUMN flag")
        try:
            faults = check_database(settings)
        finally:
            conn.execute("ALTER TABLE history.labs ADD COLUMN flag text")
    assert faults[0] == "history.labs lacks flag; run `wardstream migrate`"
    assert "column h.flag does not exist" in faults[1]


def test_a_rebuild_says_it_too(settings):
    edit(settings, "folds/lab_results.sql", "h.test_name,", "h.test_nam,")
    with pytest.raises(PlanError, match=r"sql/folds/lab_results\.sql, line 16: column h\.test_nam does not exist"):
        rebuild(settings)


def test_the_command(settings, monkeypatch):
    monkeypatch.setattr(contract_commands, "get_settings", lambda: settings)
    assert CliRunner().invoke(contract_commands.app, ["check", "--database"]).exit_code == 0
    edit(settings, "folds/lab_results.sql", "h.test_name,", "h.test_nam,")
    done = CliRunner().invoke(contract_commands.app, ["check", "--database"])
    edit(settings, "folds/lab_results.sql", "h.test_nam,", "h.test_name,")
    assert done.exit_code == 1 and "sql/folds/lab_results.sql, line 16" in done.output
    assert CliRunner().invoke(contract_commands.app, ["check"]).exit_code == 0, "without a server it cannot be known"


def test_the_query_of_a_daily_table_is_tried_by_spark(settings, monkeypatch):
    monkeypatch.setattr(contract_commands, "get_settings", lambda: settings)
    edit(settings, "marts/daily_labs/query.sql", "FROM counted", "FORM counted")
    done = CliRunner().invoke(contract_commands.app, ["check", "--database"])
    assert done.exit_code == 1 and "daily_labs/query.sql, line 49: Syntax error at or near 'FORM'" in done.output
    assert len(done.output.splitlines()) == 2, done.output
    with pytest.raises(SetupError, match=r"daily_labs/query\.sql, line 49"):
        apply_migrations(settings)


def test_spark_is_not_asked_again_about_what_has_not_changed(settings, monkeypatch):
    asked: list[str] = []
    answer: list[str] = []

    def ask(_: Settings) -> list[str]:
        asked.append("asked")
        return answer

    monkeypatch.setattr(queries, "check_queries", ask)
    (settings.state_dir / "queries.txt").unlink(missing_ok=True)
    assert [queries.changed_queries(settings) for _ in range(2)] == [[], []] and len(asked) == 1
    edit(settings, "marts/daily_labs/query.sql", "FROM counted", "FROM counted ")
    queries.changed_queries(settings)
    assert len(asked) == 2, "the file has changed"
    edit(settings, "marts/daily_labs/reads/lab_results.sql", "    flag,\n", "    flag::varchar(9) AS flag,\n")
    queries.changed_queries(settings)
    assert len(asked) == 3, "a column that it reads has changed"
    with connect(settings.owner_url, "test") as conn:
        conn.execute("ALTER TABLE mart.daily_labs ADD COLUMN more text")
        try:
            queries.changed_queries(settings)
        finally:
            conn.execute("ALTER TABLE mart.daily_labs DROP COLUMN more")
    assert len(asked) == 4, "the table has changed"
    answer.append("wrong")
    edit(settings, "marts/daily_labs/query.sql", "FROM counted", "FROM counted ")
    assert [queries.changed_queries(settings) for _ in range(2)] == [["wrong"]] * 2, "a fault is said each time"
