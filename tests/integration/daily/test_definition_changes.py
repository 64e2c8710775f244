"""A changed definition, or a changed reference table, makes the days of its table stale; and of no other."""

import pytest

from tests.integration.daily.clinic import Before
from tests.integration.daily.test_which_days import MARCH, NONE, a_week
from wardstream.daily.build import Chunk, run
from wardstream.daily.stale import count_stale


def test_a_changed_definition_makes_its_days_stale_until_they_are_built(clinic, sql_of, monkeypatch):
    a_week(clinic)
    changed = sql_of("daily_labs/query.sql", "max(test_name) AS test_name", "'changed' AS test_name")
    assert count_stale(changed) == {"daily_admissions": 0, "daily_diagnoses": 0, "daily_labs": 4}
    before = Before(clinic)
    monkeypatch.setattr(clinic.spark, "stop", lambda: None)
    assert run(changed, clinic.range(), lambda _settings: clinic.spark) == 0
    assert before.rebuilt() == {**NONE, "daily_labs": MARCH[1:5]}
    assert {row["test_name"] for row in clinic.rows("daily_labs")} == {"changed"}
    assert sum(count_stale(changed).values()) == 0
    assert clinic.stale("daily_labs") == MARCH[1:5], "the files of before make other numbers"


def test_a_changed_reference_table_makes_only_its_days_stale(clinic):
    a_week(clinic)
    admin = clinic.bench.admin
    admin.execute("UPDATE mart.diagnosis_chapters SET chapter_title = chapter_title || '!' WHERE chapter = '9'")
    try:
        assert [clinic.stale(table) for table in NONE] == [[], [MARCH[3]], []]
        clinic.build()
        assert {row["chapter_title"] for row in clinic.rows("daily_diagnoses")} == {"Circulatory system!"}
        assert clinic.stale("daily_diagnoses") == []
    finally:
        admin.execute("UPDATE mart.diagnosis_chapters SET chapter_title = rtrim(chapter_title, '!')")
    assert clinic.stale("daily_diagnoses") == [MARCH[3]]
    clinic.build()
    assert {row["chapter_title"] for row in clinic.rows("daily_diagnoses")} == {"Circulatory system"}


def test_a_reference_table_that_changes_during_a_build_leaves_the_day_stale(clinic):
    """What is noted is what the build's snapshot saw."""
    a_week(clinic)
    admin, builder, mart = clinic.bench.admin, clinic.builder, clinic.mart("daily_diagnoses")
    try:
        with builder.snapshot(
            mart, Chunk("main", [MARCH[3]]), clinic.range(first=MARCH[3], last=MARCH[3], all_days=True)
        ) as snapshot:
            admin.execute("UPDATE mart.diagnosis_chapters SET chapter_title = chapter_title || '!' WHERE chapter = '9'")
            builder.stage(mart, snapshot, builder.aggregate(mart, snapshot))
        builder.put(mart, snapshot)
        assert {row["chapter_title"] for row in clinic.rows("daily_diagnoses")} == {"Circulatory system"}
        assert clinic.stale("daily_diagnoses") == [MARCH[3]]
    finally:
        admin.execute("UPDATE mart.diagnosis_chapters SET chapter_title = rtrim(chapter_title, '!')")


@pytest.mark.parametrize("table", NONE)
def test_days_built_before_definitions_were_noted_are_built_once_more(clinic, table):
    a_week(clinic)
    digest = clinic.bench.digest()
    clinic.bench.admin.execute("UPDATE ops.day_builds SET definition = NULL")
    before = Before(clinic)
    assert clinic.stale(table)
    clinic.build(table)
    assert before.rebuilt()[table] and clinic.stale(table) == []
    assert clinic.bench.digest() == digest
