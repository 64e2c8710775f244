"""A day that fails its checks holds back itself, and what is newest is built first."""

from datetime import date, timedelta

import pytest

from tests.integration.commit.facts import lab, stay
from tests.integration.daily.clinic import Before
from wardstream.daily import build as build_module
from wardstream.daily.build import Builder, run

DAYS = [date(2026, 3, 2) + timedelta(days=n) for n in range(30)]
BAD = DAYS[17]


def thirty_days(clinic) -> None:
    """A result at noon of each of thirty days."""
    clinic.today = DAYS[-1]
    clinic.commit(
        *(lab(f"l{n}", "resulted", 17 + 24 * n, lab_result_id=f"L{n}", test_code="NA") for n in range(len(DAYS)))
    )


def test_one_broken_day_of_thirty_holds_back_that_day_only(clinic, sql_of, monkeypatch, caplog):
    thirty_days(clinic)
    settings = sql_of(
        "daily_labs/query.sql",
        "    results,\n",
        f"    results + if(day = {(BAD - date(1970, 1, 1)).days}, 1, 0) AS results,\n",
    )
    monkeypatch.setattr(clinic.spark, "stop", lambda: None)
    assert run(settings, clinic.range(), lambda _settings: clinic.spark) == 1
    assert clinic.days("daily_labs") == [day for day in DAYS if day != BAD]
    assert {day for table, day in clinic.builds() if table == "daily_labs"} == set(DAYS) - {BAD}
    (error,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert error == (
        "mart.daily_labs: a check failed, the old rows of these days stay: totals that are not those of core:"
        f" {BAD}; 29 other days were built"
    )
    before = Before(clinic)
    assert run(settings, clinic.range(), lambda _settings: clinic.spark) == 1
    assert before.rebuilt()["daily_labs"] == [], "the days that were built are not stale"
    clinic.build()
    assert clinic.days("daily_labs") == DAYS


def test_a_fault_that_names_no_day_of_its_chunk_holds_back_the_chunk(clinic, sql_of, monkeypatch, caplog):
    """Nobody knows from which day rows of a wrong day, or of none, are missing."""
    thirty_days(clinic)
    settings = sql_of(
        "daily_labs/checks.sql",
        "SELECT 'rows of a day that was not to be built' AS fault, day",
        "SELECT 'lost' AS fault, NULL::date AS day UNION ALL\nSELECT 'rows of a day that was not to be built', day",
    )
    monkeypatch.setattr(clinic.spark, "stop", lambda: None)
    assert run(settings, clinic.range(), lambda _settings: clinic.spark) == 1
    assert clinic.days("daily_labs") == []
    assert "lost: a row without a day; which holds back all days that were built with them: 2026-03-02" in caplog.text


def test_todays_numbers_do_not_wait_for_centuries(clinic, monkeypatch):
    """A stay that was never discharged, a discharge years ahead: each table begins with today all the same."""
    clinic.today = today = DAYS[20]
    since = -24 * (date(2026, 3, 1) - date(2024, 1, 2)).days
    clinic.commit(
        stay("old", "admitted", since, encounter_id="E1", patient_id="P1"),
        stay("a", "admitted", 24 * 18, encounter_id="E2", patient_id="P2"),
        stay("far", "discharged", 24 * 900, 24 * 19, encounter_id="E2", patient_id="P2"),
        lab("x", "resulted", 24 * 19, lab_result_id="L1", test_code="NA"),
        lab("y", "resulted", since, lab_result_id="L2", test_code="NA"),
    )
    monkeypatch.setattr(build_module, "DAYS_A_CHUNK", 100)
    monkeypatch.setattr(clinic.spark, "stop", lambda: None)
    built: list[tuple[str, date, date]] = []
    build_chunk = Builder.build_chunk

    def noted(builder, mart, chunk, wanted, into):
        built.append((mart.table, chunk.days[0], chunk.days[-1]))
        build_chunk(builder, mart, chunk, wanted, into)
        if len(built) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Builder, "build_chunk", noted)
    with pytest.raises(KeyboardInterrupt):
        run(clinic.settings, clinic.range(), lambda _settings: clinic.spark)
    assert [table for table, _, _ in built] == ["daily_admissions", "daily_labs"]
    for table in ("daily_admissions", "daily_labs"):
        assert {day for of, day in clinic.builds() if of == table and abs(day - today) < timedelta(days=3)}, table
    assert clinic.rows("daily_labs")[0]["day"] > DAYS[0]
    left = clinic.stale("daily_admissions")
    assert left[0] == date(2024, 1, 2) and left[-1] > date(2028, 1, 1)
