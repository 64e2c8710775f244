"""The SQL folder as the stream reads it: headers, includes, and what is said of a file that is not right."""

from pathlib import Path

import pytest

from wardstream.settings import PROJECT_ROOT
from wardstream.stream.plan import PlanError, load_plan, read_fold

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


def test_the_ends_of_a_stay_are_read_and_are_no_part_of_the_query(tmp_path):
    stay = HEADER.replace("seen_at", "a .. b")
    fold = read_fold(fold_file(tmp_path, stay.replace("SELECT", "-- ends: c, d\nSELECT")))
    assert (fold.ends, fold.query) == (("c", "d"), stay)
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


def test_a_topic_without_a_commit_file_is_named(tmp_path):
    fold_file(tmp_path, HEADER)
    with pytest.raises(PlanError, match=r"topic labs has a contract but no .*labs\.sql"):
        load_plan(tmp_path, ["labs"])


def test_only_folds_of_the_wanted_topics_are_in_a_plan(tmp_path):
    fold_file(tmp_path, HEADER)
    fold_file(tmp_path, HEADER.replace("labs, diagnoses", "others"), "others")
    (tmp_path / "commit").mkdir()
    (tmp_path / "commit" / "labs.sql").write_text("SELECT * FROM staged_labs")
    plan = load_plan(tmp_path, ["labs"])
    assert [fold.table for fold in plan.folds_of("labs")] == ["things"]
    assert [fold.table for fold in plan.folds] == ["things"]


def test_the_shipped_folder_is_a_plan():
    plan = load_plan(PROJECT_ROOT / "sql", ["admissions", "diagnoses", "labs", "patients"])
    assert [fold.table for fold in plan.folds_of("admissions")] == ["encounters", "movements"]
    assert all("-- include:" not in fold.query for fold in plan.folds)
