"""A core table whose fold has changed is said until `wardstream rebuild` has computed it again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.integration.commit.bench import Bench
from tests.integration.commit.facts import lab, stay
from tests.integration.conftest import another_database
from wardstream.contracts.model import load_contracts
from wardstream.database.connection import connect
from wardstream.database.migrate import migrate
from wardstream.proof.folds import rebuild_due
from wardstream.proof.rebuild import Mended, Rebuild, rebuild
from wardstream.settings import Settings
from wardstream.stream.plan import load_plan

LABS = ["core.lab_results: its fold changed; run `wardstream rebuild`"]


@pytest.fixture
def settings(server: Settings, tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    """An empty database, and a copy of sql/ to be changed."""
    name = request.node.name.removeprefix("test_")[:40]
    sql = shutil.copytree(server.sql_dir, tmp_path / "sql")
    settings = another_database(server, name).model_copy(update={"sql_dir": sql})
    migrate(settings)
    return settings


def change(settings: Settings, name: str) -> None:
    """As an edit does that nobody can tell from one that changes results."""
    path = settings.sql_dir / "folds" / name
    path.write_text(path.read_text().replace("FROM ", "FROM  ", 1))


def fill(settings: Settings) -> None:
    """A stay and two results; the bench's emptying takes every note away, so they are recreated."""
    bench = Bench(settings)
    migrate(settings)
    bench.commit(stay("a", "admitted", 10), lab("x", "resulted", 12), lab("y", "resulted", 12, lab_result_id="L2"))


def test_a_changed_fold_is_due_until_core_is_rebuilt(settings):
    fill(settings)
    assert rebuild_due(settings) == []
    change(settings, "lab_results.sql")
    assert rebuild_due(settings) == LABS
    migrate(settings)
    assert rebuild_due(settings) == LABS, "migrate computes nothing, and so notes nothing"
    rebuild(settings)
    assert rebuild_due(settings) == []


def test_what_a_fold_includes_is_part_of_it(settings):
    fill(settings)
    change(settings, "include/admission_facts.sql")
    assert [said.partition(":")[0] for said in rebuild_due(settings)] == ["core.encounters", "core.movements"]


def test_a_comment_of_a_fold_changes_no_row(settings):
    fill(settings)
    path = settings.sql_dir / "folds" / "lab_results.sql"
    path.write_text(path.read_text().replace("-- column status:", "-- Said of late.\n\n-- column status:"))
    assert rebuild_due(settings) == []


def test_a_fold_that_changes_before_there_is_a_fact_is_not_due(settings):
    change(settings, "lab_results.sql")
    assert rebuild_due(settings) == []
    fill(settings)
    assert rebuild_due(settings) == []


def test_a_core_table_that_is_new_beside_old_facts_is_due(settings):
    """As is every table of a database that was filled before folds were noted."""
    fill(settings)
    with connect(settings.owner_url, "test") as owner:
        owner.execute("DELETE FROM ops.folds WHERE core_table = 'lab_results'")
    migrate(settings)
    assert rebuild_due(settings) == LABS
    rebuild(settings)
    assert rebuild_due(settings) == []


def test_a_changed_fold_restarts_the_stream_and_folds_every_row_again(settings, monkeypatch):
    restarted: list[Settings] = []
    monkeypatch.setattr("wardstream.proof.rebuild.restart_driver", restarted.append)
    fill(settings)
    assert (rebuild(settings), restarted) == ({}, [])
    path = settings.sql_dir / "folds" / "lab_results.sql"
    path.write_text(path.read_text().replace("ELSE 'final'", "ELSE 'told'"))
    assert rebuild(settings) == {"lab_results": Mended(2, 1)}
    with connect(settings.owner_url, "test") as owner:
        assert owner.execute("SELECT DISTINCT status FROM core.lab_results").fetchall() == [("told",)]
    assert (rebuild(settings), restarted) == ({}, [settings])


def test_a_rebuild_that_ends_in_between_is_still_due(settings):
    fill(settings)
    change(settings, "lab_results.sql")
    with connect(settings.owner_url, "test") as owner:
        owner.execute("DELETE FROM core.lab_results")
        job = Rebuild(owner, load_plan(settings.sql_dir, load_contracts(settings.schemas_dir)), 1)
        job.look()
        next(job.mend())
        assert rebuild_due(settings) == LABS
    assert rebuild(settings) == {"lab_results": Mended(1, 1)}, "the first turn is kept"
    assert rebuild_due(settings) == []
