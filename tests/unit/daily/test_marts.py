"""The files of sql/marts, and what is said of one that has not the form."""

import shutil
from datetime import date

import pytest

from spark_jobs.daily import arguments
from wardstream.daily.marts import TABLES, load_marts
from wardstream.daily.spark import NoJdbcAddressError, jdbc
from wardstream.daily.stale import Range, RangeError
from wardstream.settings import PROJECT_ROOT
from wardstream.stream.plan import PlanError, load_plan

SQL = PROJECT_ROOT / "sql"


def test_every_table_is_read():
    marts = load_marts(SQL)
    assert tuple(mart.table for mart in marts.tables) == TABLES
    assert [mart.table for mart in marts.tables if mart.follows_today] == ["daily_admissions"]
    assert {read.name for mart in marts.tables for read in mart.reads} == {
        path.stem for path in (SQL / "marts" / "reads").glob("*.sql")
    }


def test_a_table_names_every_core_table_that_its_reads_read():
    """Else a commit could change what a day says and not make it stale."""
    folds = {fold.table for fold in load_plan(SQL, []).folds} | {path.stem for path in (SQL / "folds").glob("*.sql")}
    for mart in load_marts(SQL).tables:
        text = " ".join(read.query for read in mart.reads)
        assert {table for table in folds if f"core.{table}" in text} == set(mart.core)


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("-- core: lab_results\n", "", "lacks"),
        ("-- reads: lab_results\n", "", "lacks"),
        ("-- reads: lab_results", "-- reads: nothing", "nothing.sql"),
        ("-- core: lab_results\n", "-- core: lab_results\n-- follows: the moon\n", "today"),
    ],
)
def test_a_file_without_the_form_is_named(tmp_path, right, wrong, said):
    shutil.copytree(SQL, tmp_path / "sql")
    path = tmp_path / "sql" / "marts" / "daily_labs.sql"
    path.write_text(path.read_text().replace(right, wrong))
    with pytest.raises(PlanError, match=said):
        load_marts(tmp_path / "sql")


def test_a_range_must_be_one():
    assert Range(date(2026, 3, 1)).last is None
    with pytest.raises(RangeError, match="--first and --last"):
        Range(date(2026, 3, 1), all_days=True)
    with pytest.raises(RangeError, match="before the first"):
        Range(date(2026, 3, 2), date(2026, 3, 1))


def test_the_jobs_arguments():
    assert arguments([]) == Range()
    given = arguments(["--first", "2026-03-01", "--last", "2026-03-02", "--all-days"])
    assert given == Range(date(2026, 3, 1), date(2026, 3, 2), all_days=True)
    for wrong in (["--first", "yesterday"], ["--all-days"], ["--first", "2026-03-02", "--last", "2026-03-01"]):
        with pytest.raises(SystemExit):
            arguments(wrong)


def test_an_address_for_jdbc():
    found = jdbc("postgresql://w:s%40crét@db.example:6000/ward?sslmode=require&connect_timeout=5")
    assert found["url"].startswith("jdbc:postgresql://db.example:6000/ward?sslmode=require&options=-c%20timezone")
    assert (found["user"], found["password"]) == ("w", "s@crét")
    assert "crét" not in found["url"] and "connect_timeout" not in found["url"]
    assert jdbc("postgresql://w@a,b:6/ward")["url"].startswith("jdbc:postgresql://a:5432,b:6/ward?")
    with pytest.raises(NoJdbcAddressError, match="Unix socket"):
        jdbc("postgresql:///ward?host=/run/postgresql")
