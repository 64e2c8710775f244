"""The SQL folder as the stream reads it: headers, includes, and what is said of a file that is not right."""

from pathlib import Path

import pytest

from tests.unit.contracts import made_up
from wardstream.contracts.model import load_contract, load_contracts
from wardstream.database.plan_error import PlanError
from wardstream.proof.folds import hash_of
from wardstream.settings import PROJECT_ROOT
from wardstream.stream.plan import load_plan, read_fold

CONTRACTS = load_contracts(PROJECT_ROOT / "schemas")
HEADER = "-- core.things: one row a thing.\n-- topics: labs, diagnoses\n-- key: thing_id\n-- days: seen_at\nSELECT 1\n"


def fold_file(folder: Path, text: str, name: str = "things") -> Path:
    (folder / "folds" / "include").mkdir(parents=True, exist_ok=True)
    path = folder / "folds" / f"{name}.sql"
    path.write_text(text)
    return path


def test_a_header_is_read(tmp_path):
    fold = read_fold(fold_file(tmp_path, HEADER))
    assert (fold.table, fold.topics, fold.key) == ("things", ("labs", "diagnoses"), "thing_id")
    assert (fold.days, fold.days_are_span, fold.query) == (("seen_at",), False, HEADER)


@pytest.mark.parametrize(
    ("days", "columns", "span"),
    [("a, b", ("a", "b"), False), ("a .. b", ("a", "b"), True), ("a..b", ("a", "b"), True)],
)
def test_days_are_instants_or_a_stay(tmp_path, days, columns, span):
    fold = read_fold(fold_file(tmp_path, HEADER.replace("seen_at", days)))
    assert (fold.days, fold.days_are_span) == (columns, span)


def test_the_ends_of_a_stay_are_read_and_no_part_of_what_a_fold_is_known_by(tmp_path):
    stay = HEADER.replace("seen_at", "a .. b")
    fold = read_fold(fold_file(tmp_path, stay.replace("SELECT", "-- ends: c, d\nSELECT")))
    assert fold.ends == ("c", "d")
    assert hash_of(fold) == hash_of(read_fold(fold_file(tmp_path, stay)))
    with pytest.raises(PlanError, match="is for a stay"):
        read_fold(fold_file(tmp_path, HEADER.replace("SELECT", "-- ends: c, d\nSELECT")))


@pytest.mark.parametrize("line", ["topics", "key", "days"])
def test_an_incomplete_header_is_named(tmp_path, line):
    text = "".join(kept for kept in HEADER.splitlines(keepends=True) if not kept.startswith(f"-- {line}:"))
    with pytest.raises(PlanError, match=rf"things\.sql.*'{line}'"):
        read_fold(fold_file(tmp_path, text))


def test_a_stay_needs_two_columns(tmp_path):
    with pytest.raises(PlanError, match="two columns"):
        read_fold(fold_file(tmp_path, HEADER.replace("seen_at", "a .. b .. c")))


def test_an_include_takes_the_place_of_its_line(tmp_path):
    path = fold_file(tmp_path, HEADER.replace("SELECT 1", "WITH\n-- include: part.sql\nSELECT 1"))
    (path.parent / "include" / "part.sql").write_text("a AS (SELECT '\\1')")
    assert read_fold(path).query.endswith("WITH\na AS (SELECT '\\1')\nSELECT 1\n")


def test_a_missing_include_is_named(tmp_path):
    with pytest.raises(PlanError, match=r"things\.sql: includes part\.sql"):
        read_fold(fold_file(tmp_path, HEADER + "-- include: part.sql\n"))


def test_history_is_what_was_sent_unless_a_file_transforms_it(tmp_path):
    visits = load_contract(made_up.write(tmp_path) / "visits")
    query = load_plan(tmp_path, {"visits": visits}).history["visits"]
    assert query.startswith('SELECT "event_id", "event_time", ')
    assert '"address"::jsonb AS "address"' in query and query.endswith('"schema_id" FROM "staged_visits"')
    (tmp_path / "commit").mkdir()
    (tmp_path / "commit" / "visits.sql").write_text("SELECT * FROM staged_visits")
    assert load_plan(tmp_path, {"visits": visits}).history == {"visits": "SELECT * FROM staged_visits"}


def test_a_fold_describes_its_table_and_what_the_contract_has_no_word_for(tmp_path):
    seen = "-- column seen_at: When it was seen,\n--     UTC: the day it counts on.\n"
    said = seen + "-- column status: final.\n-- Why so.\n"
    fold = read_fold(fold_file(tmp_path, HEADER.replace("SELECT 1", said + "SELECT 1")))
    assert fold.comments == {
        "": "One row a thing.",
        "seen_at": "When it was seen, UTC: the day it counts on.",
        "status": "final.",
    }


def test_only_folds_of_the_wanted_topics_are_in_a_plan(tmp_path):
    fold_file(tmp_path, HEADER)
    fold_file(tmp_path, HEADER.replace("labs, diagnoses", "others"), "others")
    plan = load_plan(tmp_path, {"labs": CONTRACTS["labs"]})
    assert [fold.table for fold in plan.folds_of("labs")] == ["things"]
    assert [fold.table for fold in plan.folds] == ["things"]


def test_the_shipped_folder_is_a_plan():
    plan = load_plan(PROJECT_ROOT / "sql", CONTRACTS)
    assert [fold.table for fold in plan.folds_of("admissions")] == ["encounters", "movements"]
    assert all("-- include:" not in fold.query for fold in plan.folds)
