"""The files of sql/marts, and what is said of one that has not the form."""

import re
import shutil
from datetime import date

import pytest

from spark_jobs.daily import arguments
from wardstream.daily.marts import load_marts
from wardstream.daily.spark import NoJdbcAddressError, jdbc
from wardstream.daily.stale import Range, RangeError
from wardstream.database.plan_error import PlanError
from wardstream.settings import PROJECT_ROOT
from wardstream.stream.plan import load_plan

SQL = PROJECT_ROOT / "sql"


@pytest.fixture
def sql(tmp_path):
    """A copy of sql/ to be changed."""
    return shutil.copytree(SQL, tmp_path / "sql")


def test_every_folder_is_a_table():
    marts = load_marts(SQL)
    assert [mart.table for mart in marts] == sorted(path.name for path in (SQL / "marts").iterdir())
    assert [mart.table for mart in marts if mart.metadata.follows_today] == ["daily_admissions"]
    assert {read.path for mart in marts for read in mart.reads} == set((SQL / "marts").glob("*/reads/*.sql"))


def test_a_table_names_every_core_table_that_its_reads_read():
    """Else a commit could change what a day says and not make it stale."""
    folds = {fold.table for fold in load_plan(SQL, {}).folds} | {path.stem for path in (SQL / "folds").glob("*.sql")}
    for mart in load_marts(SQL):
        text = " ".join(read.query for read in mart.reads)
        assert {table for table in folds if f"core.{table}" in text} == set(mart.metadata.core)


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("core: [lab_results]\n", "", "metadata.yaml: core: Field required"),
        ("core: [lab_results]\n", "core: []\n", "metadata.yaml: core: List should have at least 1 item"),
        ("core: [lab_results]\n", "core: [lab_results]\nfollows: the moon\n", "follows: Extra inputs"),
        ("grain: day", "grain: week", "grain: Input should be 'day', 'hour' or 'stay'"),
        ("grain: day\n", "grain: [day\n", "metadata.yaml, line 7: no YAML"),
        ("grain: day\n", "grain: day\nshared_reads: [daily_labs/nothing]\n", "nothing.sql"),
        ("grain: day\n", "grain: day\nshared_reads: [daily_labs/lab_results]\n", "two reads of one name"),
    ],
)
def test_metadata_without_the_form_is_named(sql, right, wrong, said):
    path = sql / "marts" / "daily_labs" / "metadata.yaml"
    text = path.read_text()
    assert right in text
    path.write_text(text.replace(right, wrong))
    with pytest.raises(PlanError, match=re.escape(said)):
        load_marts(sql)


@pytest.mark.parametrize("name", ["metadata.yaml", "query.sql", "checks.sql", "reads/lab_results.sql"])
def test_a_missing_file_is_named(sql, name):
    (sql / "marts" / "daily_labs" / name).unlink()
    with pytest.raises(PlanError, match=name.partition("/")[0]):
        load_marts(sql)


def test_a_read_says_how_it_is_cut_to_days(sql):
    path = sql / "marts" / "daily_labs" / "reads" / "lab_results.sql"
    path.write_text(path.read_text().replace("-- days: observed_at", "-- days: observed_at, reported_at"))
    with pytest.raises(PlanError, match=r"lab_results\.sql: '-- days:' names one column"):
        load_marts(sql)


def test_a_read_of_another_table_is_shared_and_not_copied(sql):
    path = sql / "marts" / "daily_labs" / "metadata.yaml"
    path.write_text(path.read_text() + "shared_reads: [daily_admissions/stays]\n")
    marts = {mart.table: mart for mart in load_marts(sql)}
    assert [read.name for read in marts["daily_labs"].reads] == ["lab_results", "stays"]
    before = marts["daily_labs"].definition
    shared = sql / "marts" / "daily_admissions" / "reads" / "stays.sql"
    shared.write_text(shared.read_text().replace("'open'", "'discharged'"))
    assert {mart.table: mart for mart in load_marts(sql)}["daily_labs"].definition != before


@pytest.mark.parametrize(
    ("name", "right", "wrong", "other"),
    [
        ("query.sql", "abnormal", "strange", True),
        ("reads/lab_results.sql", "cancelled", "final", True),
        ("metadata.yaml", "version: 1", "version: 2", True),
        ("metadata.yaml", "owner: ", "owner: not ", False),
        ("checks.sql", "expected", "wanted", False),
    ],
)
def test_the_definition_is_what_the_numbers_come_from(sql, name, right, wrong, other):
    before = {mart.table: mart.definition for mart in load_marts(sql)}
    path = sql / "marts" / "daily_labs" / name
    path.write_text(path.read_text().replace(right, wrong))
    after = {mart.table: mart.definition for mart in load_marts(sql)}
    assert {table for table in before if before[table] != after[table]} == ({"daily_labs"} if other else set())


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
    found = jdbc("postgresql://w:s%40crét@db.example:6000/ward?sslmode=require&connect_timeout=5", 90)
    assert found["url"].startswith("jdbc:postgresql://db.example:6000/ward?sslmode=require&options=-c%20timezone")
    assert (found["user"], found["password"]) == ("w", "s@crét")
    assert "crét" not in found["url"] and "connect_timeout" not in found["url"]
    assert "socketTimeout=120&" in f"{found['url']}&" and "statement_timeout%3D90s" in found["url"]
    assert jdbc("postgresql://w@a,b:6/ward", 90)["url"].startswith("jdbc:postgresql://a:5432,b:6/ward?")
    with pytest.raises(NoJdbcAddressError, match="Unix socket"):
        jdbc("postgresql:///ward?host=/run/postgresql", 90)
