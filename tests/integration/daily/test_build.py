"""One build: it reads one state of core, checks what it built, and never puts the older over the newer."""

import logging
import re
import shutil
from datetime import date

import pytest

from tests.integration.commit.facts import lab, stay
from tests.integration.daily.clinic import Before
from tests.integration.daily.test_which_days import MARCH, a_week
from wardstream.daily import build as build_module
from wardstream.daily.build import Builder, Chunk, run
from wardstream.daily.spark import jdbc
from wardstream.daily.stale import Range
from wardstream.database.connection import connect

MAIN = "main"


@pytest.fixture
def second(clinic):
    """Another builder, as a job of its own has it."""
    with connect(clinic.settings.writer_url, "test daily 2") as conn:
        yield Builder(clinic.settings, conn, clinic.spark)


def test_all_reads_see_the_snapshot_in_which_the_versions_were_read(clinic):
    """A row changed between snapshot and read is neither in the rows nor in the version: the day stays stale."""
    clinic.commit(lab("a", "resulted", 10, test_code="NA", value_number=1.0))
    mart, builder = clinic.mart("daily_labs"), clinic.builder
    with builder.snapshot(mart, Chunk(MAIN, [MARCH[1]]), Range()) as snapshot:
        clinic.commit(lab("b", "corrected", 10, 11, test_code="NA", value_number=2.0))
        rows = builder.aggregate(mart, snapshot)
        builder.stage(mart, snapshot, rows)
    assert rows["median_value"].to_pylist() == [1.0]
    builder.put(mart, snapshot)
    assert clinic.stale("daily_labs") == [MARCH[1]]
    clinic.build()
    assert [r["median_value"] for r in clinic.rows("daily_labs")] == [2.0]


def test_a_build_that_is_overtaken_does_not_overwrite(clinic, second):
    a_week(clinic)
    mart, first = clinic.mart("daily_labs"), clinic.builder
    clinic.commit(lab("x", "resulted", 10, lab_result_id="L8"), lab("y", "resulted", 34, lab_result_id="L9"))
    with first.snapshot(mart, Chunk(MAIN, MARCH[1:3]), clinic.range()) as snapshot:
        first.stage(mart, snapshot, first.aggregate(mart, snapshot))
    clinic.commit(lab("z", "resulted", 11, lab_result_id="L7"))
    second.build(mart, clinic.range())
    newest = Before(clinic)
    assert first.put(mart, snapshot)[0] == 1  # the day of y, which is the same in both
    assert newest.rebuilt()["daily_labs"] == [MARCH[2]]
    assert sum(r["results"] for r in clinic.rows("daily_labs", "day = '2026-03-02'")) == 3
    assert clinic.stale("daily_labs") == []


def test_a_build_of_an_earlier_day_does_not_overwrite_one_of_the_same_version(clinic, second):
    clinic.today = MARCH[1]
    clinic.commit(stay("a", "admitted", 10))
    mart, first = clinic.mart("daily_admissions"), clinic.builder
    with first.snapshot(mart, Chunk(MAIN, [MARCH[1]]), clinic.range()) as snapshot:
        first.stage(mart, snapshot, first.aggregate(mart, snapshot))
    clinic.today = MARCH[2]
    second.build(mart, clinic.range())
    assert first.put(mart, snapshot)[0] == 0
    assert [r["midnight_census"] for r in clinic.rows("daily_admissions")] == [1]


def test_days_in_several_chunks_are_built_like_days_in_one(clinic, monkeypatch):
    a_week(clinic)
    digest = clinic.bench.digest()
    clinic.forget_builds()
    monkeypatch.setattr(build_module, "DAYS_A_CHUNK", 2)
    built = clinic.build()
    assert [one.days for one in built["daily_admissions"] + built["daily_labs"]] == [4, 4]
    assert clinic.bench.digest() == digest


def broken(clinic, tmp_path, table: str, right: str, wrong: str):
    """Settings whose definition of one table has a defect."""
    shutil.copytree(clinic.settings.sql_dir, tmp_path / "sql")
    path = tmp_path / "sql" / "marts" / table / "query.sql"
    text = path.read_text()
    assert right in text
    path.write_text(text.replace(right, wrong))
    return clinic.settings.model_copy(update={"sql_dir": tmp_path / "sql"})


DEFECTS = {
    "labs counted twice": ("daily_labs", "count(*) AS results", "2 * count(*) AS results", "totals"),
    "labs without their unit": (
        "daily_labs",
        "day, test_code, unit\n)",
        "day, test_code, unit, value_number\n)",
        "two rows",
    ),
    "a share that is none": ("daily_labs", "CAST(abnormal AS double) / results", "results + 0.5D", "out of range"),
    "a day too far": (
        "daily_labs",
        "date_from_unix_date(day) AS day",
        "date_from_unix_date(day + 1) AS day",
        "not to be",
    ),
    "a null": (
        "daily_labs",
        "numeric_results,\n    abnormal,",
        "numeric_results,\n    CAST(NULL AS bigint) AS abnormal,",
        "a null",
    ),
    "a census off by one": ("daily_admissions", "d.day < coalesce", "d.day <= coalesce", "totals"),
    "deaths of the living": ("daily_admissions", "CASE WHEN died THEN 1 ELSE 0 END", "1", "totals"),
    "cancelled transfers": (
        "daily_admissions",
        "FROM transfers",
        "FROM stays LATERAL VIEW explode(:days) e AS day",
        "tota",
    ),
    "diagnoses twice": ("daily_diagnoses", "count_if(sequence = 1)", "count(*)", "totals"),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_failing_check_keeps_the_old_rows_and_all_else_goes_on(clinic, tmp_path, monkeypatch, caplog, defect):
    table, right, wrong, said = DEFECTS[defect]
    a_week(clinic)
    clinic.commit(
        lab("late", "resulted", 35, 200, lab_result_id="L9", test_code="NA", value_number=3.0),
        stay("a3", "admitted", 40, encounter_id="E3", patient_id="P3"),
        ("diagnoses", {**stay("y", "recorded", 60)[1], "diagnosis_id": "D2", "code": "I10", "code_system": "X"}),
    )
    before = Before(clinic)
    settings = broken(clinic, tmp_path, table, right, wrong)
    monkeypatch.setattr(clinic.spark, "stop", lambda: None)
    with caplog.at_level(logging.INFO):
        assert run(settings, clinic.range(), lambda _settings: clinic.spark) == 1
    rebuilt = before.rebuilt()
    (error,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert table in error and said in error and "2026-03-" in error
    faulty = {date.fromisoformat(day) for day in re.findall("2026-03-[0-9]{2}", error)}
    assert not faulty & set(rebuilt.pop(table))
    assert all(rebuilt.values()), rebuilt
    assert not any(name in error for name in ("P1", "P2", "P3", "E1", "E3", "L9", "NA"))
    assert clinic.stale(table)
    clinic.build()
    assert clinic.stale(table) == []


def test_a_table_that_cannot_be_built_does_not_stop_the_others(clinic, tmp_path, monkeypatch, caplog):
    a_week(clinic)
    clinic.forget_builds()
    settings = broken(clinic, tmp_path, "daily_admissions", "FROM stays", "FROM nowhere")
    monkeypatch.setattr(clinic.spark, "stop", lambda: None)
    assert run(settings, clinic.range(), lambda _settings: clinic.spark) == 1
    assert not clinic.rows("daily_admissions") and clinic.rows("daily_labs") and clinic.rows("daily_diagnoses")
    assert "mart.daily_admissions: the build failed" in caplog.text


def test_no_password_is_in_what_spark_says_of_a_plan(clinic):
    options = jdbc(clinic.settings.writer_url, 600)
    secret = options["password"]
    assert secret and secret not in options["url"]
    frame = clinic.spark.read.jdbc(options.pop("url"), "mart.daily_labs", properties=options)
    said = frame._jdf.queryExecution().toString() + clinic.spark.sparkContext._conf.toDebugString()
    assert secret not in said
