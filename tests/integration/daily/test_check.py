"""What sql/marts says is tried before it is needed: one sentence with file and line, and no NULLs built."""

import logging
import subprocess
import sys

import pytest

from tests.integration.commit.facts import lab
from tests.integration.daily.clinic import Before
from tests.integration.daily.test_job import how
from tests.integration.daily.test_which_days import a_week
from wardstream.daily.build import run
from wardstream.daily.check import check_marts
from wardstream.daily.queries import faults_of_queries

QUERY = "daily_labs/query.sql"
READ = "daily_labs/reads/lab_results.sql"
CHECKS = "daily_labs/checks.sql"
METADATA = "daily_labs/metadata.yaml"
OTHER_TABLE = "FROM core.lab_results WHERE EXISTS (SELECT FROM core.patients) AND"
WRONG_QUERIES = [
    (QUERY, "    loinc_code,\n    results", "    results", "query.sql: it does not give loinc_code, which mart.d"),
    (
        QUERY,
        "    loinc_code,\n    results",
        "    loinc_code,\n    1 AS x,\n    results",
        "query.sql: it gives x, which",
    ),
    (QUERY, "FROM counted", "FORM counted", "query.sql, line 49: Syntax error at or near 'FORM'"),
    (
        QUERY,
        "        unit,\n        max",
        "        units,\n        max",
        "query.sql, line 12: A column, variable, or",
    ),
    (QUERY, "FROM counted", "FROM cuonted", "query.sql, line 49: The table or view `cuonted` cannot be found"),
]


def test_what_is_shipped_holds(clinic):
    assert check_marts(clinic.conn, clinic.settings.sql_dir) == []


@pytest.mark.parametrize(
    ("name", "right", "wrong", "said"),
    [
        (READ, "    flag,\n", "    flagg,\n", 'lab_results.sql, line 12: column "flagg" does not exist'),
        (READ, "FROM core.", "FORM core.", "lab_results.sql, line 17: syntax error"),
        (READ, "    observed_at,\n", "", "lab_results.sql: its header cuts it by observed_at, which it does not give"),
        (READ, " AS day,", " AS dya,", "lab_results.sql: it does not give day"),
        (READ, "FROM core.lab_results\nWHERE", OTHER_TABLE, "its reads read core.patients: name each under core"),
        (
            READ,
            "    AND source IN (SELECT source FROM ops.sources WHERE facility = %(facility)s)\n",
            "",
            "lab_results.sql: it does not ask for %(facility)s",
        ),
        (METADATA, "  facility: ", "  where: ", "metadata.yaml: it does not give facility, which mart.daily_labs has"),
        (CHECKS, "l.status IN", "l.state IN", "checks.sql, line 13: column l.state does not exist"),
        (CHECKS, " AS fault, day", ", day", "checks.sql: it does not give fault, which a check has"),
        (METADATA, "core: [", "core: [movements, ", "it names core.movements, which no read reads"),
        (METADATA, "  results: ", "  result: ", "metadata.yaml: it does not give results, which mart.daily_labs has"),
        (METADATA, "grain: day", "grain: hour", "its grain needs hour in the primary key of mart.daily_labs"),
    ],
)
def test_what_postgresql_refuses_is_said_with_file_and_line(clinic, sql_of, name, right, wrong, said):
    settings = sql_of(name, right, wrong)
    (fault,) = check_marts(clinic.conn, settings.sql_dir)
    assert said in fault and "daily_labs" in fault and "\n" not in fault


def test_the_queries_that_are_shipped_hold(clinic):
    assert faults_of_queries(clinic.settings, clinic.conn, clinic.spark) == []


@pytest.mark.parametrize(("name", "right", "wrong", "said"), WRONG_QUERIES)
def test_what_spark_refuses_is_said_with_file_and_line(clinic, sql_of, name, right, wrong, said):
    (fault,) = faults_of_queries(sql_of(name, right, wrong), clinic.conn, clinic.spark)
    assert said in fault and "daily_labs" in fault and "\n" not in fault


def test_a_folder_without_a_table_is_said(clinic, sql_of):
    settings = sql_of(METADATA, "version: 1", "version: 1")
    (settings.sql_dir / "marts" / "daily_labs").rename(settings.sql_dir / "marts" / "daily_nothing")
    (fault,) = check_marts(clinic.conn, settings.sql_dir)
    assert "daily_nothing: there is no table mart.daily_nothing: write a migration" in fault


@pytest.mark.parametrize(
    ("name", "right", "wrong", "said"),
    [
        *WRONG_QUERIES,
        (READ, "    flag,\n", "    flagg,\n", 'lab_results.sql, line 12: column "flagg" does not exist'),
    ],
)
def test_a_table_with_a_typo_is_not_built_and_the_others_are(
    clinic, sql_of, monkeypatch, caplog, capfd, name, right, wrong, said
):
    a_week(clinic)
    clinic.forget_builds()
    before = Before(clinic)
    monkeypatch.setattr(clinic.spark, "stop", lambda: None)
    with caplog.at_level(logging.INFO):
        assert run(sql_of(name, right, wrong), clinic.range(), lambda _settings: clinic.spark) == 1
    (error,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert error.startswith("mart.daily_labs: ") and said in error and len(error) < 500, error
    rebuilt = before.rebuilt()
    assert rebuilt["daily_labs"] == [] and rebuilt["daily_admissions"] and rebuilt["daily_diagnoses"]
    assert len(capfd.readouterr().err) < 2_000, "Spark adds no page of its own"


def test_what_fails_at_a_row_quotes_no_row(clinic, sql_of):
    """In a process of its own: the JVM writes to the same place."""
    a_week(clinic)
    clinic.commit(lab("late", "resulted", 35, lab_result_id="L9", test_code="Jane Doe"))
    settings = sql_of(QUERY, "    loinc_code,\n    results", "    CAST(test_code AS int) AS loinc_code,\n    results")
    command = [sys.executable, "-m", "spark_jobs.daily"]
    done = subprocess.run(
        command, **how(clinic, sql_dir=settings.sql_dir), capture_output=True, timeout=200, check=False
    )
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert "NumberFormatException CAST_INVALID_INPUT" in said and "Jane" not in said, said
