"""Where a source is: its rows' days are those of its facility, and a change of one facility is none of another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date

import psycopg
import pytest

from tests.integration.commit.bench import Bench
from tests.integration.commit.facts import Fact, lab, stay
from wardstream.contracts.model import load_contracts
from wardstream.daily.zone import apply_facilities
from wardstream.database.connection import connect
from wardstream.database.migrate import migrate, rollback, to_roll_back
from wardstream.settings import Settings
from wardstream.stream import commit as commit_module
from wardstream.stream.check import check_plan
from wardstream.stream.commit import Fenced

MARCH = [date(2026, 3, day) for day in range(1, 9)]  # hour 0 is the 1st at 19:00 in New York, the 2nd at 09:00 in Tokyo
ONE_AUTHORITY = "sources: {test: {authority: a}, east: {authority: a, facility: tokyo}}\n"
TWO = ONE_AUTHORITY + "facilities: {tokyo: {timezone: Asia/Tokyo}}\n"
MOVED = TWO.replace(", facility: tokyo", "")
Said = Callable[[str], Settings]
Marked = dict[tuple[str, str, date], int]


def east(fact: Fact) -> Fact:
    """The same, said by the system in Tokyo."""
    topic, body = fact
    return topic, {**body, "source": "east"}


def marked(bench: Bench) -> Marked:
    rows = bench.rows("SELECT core_table, facility, day, version FROM ops.day_versions")
    return {(table, facility, day): version for table, facility, day, version in rows}


def raised(bench: Bench, before: Marked) -> set[tuple[str, str, date]]:
    """The days that have another version than before."""
    return {day for day, version in marked(bench).items() if before.get(day) != version}


def days_of(table: str, facility: str, days: list[date]) -> set[tuple[str, str, date]]:
    return {(table, facility, day) for day in days}


@pytest.fixture
def two(said: Said) -> Iterator[Bench]:
    """A hospital with a facility in New York and one in Tokyo."""
    bench = Bench(said(TWO))
    yield bench
    bench.committer.close()
    bench.admin.close()


def test_one_moment_is_another_day_in_another_facility(two: Bench) -> None:
    """Known before core is computed: the first facts of a source are marked, too."""
    two.commit(lab("a", "resulted", 16), east(lab("b", "resulted", 16, lab_result_id="L2")))
    assert set(marked(two)) == {("lab_results", "main", MARCH[1]), ("lab_results", "tokyo", MARCH[2])}
    days = "SELECT facility, observed_day FROM mart.labs ORDER BY 1"
    assert two.rows(days) == [("main", MARCH[1]), ("tokyo", MARCH[2])]


def test_a_source_that_is_not_listed_is_in_the_default_facility(two: Bench) -> None:
    two.commit(("labs", {**lab("a", "resulted", 16)[1], "source": "nobody"}))
    assert set(marked(two)) == {("lab_results", "main", MARCH[1])}
    assert two.rows("SELECT source, facility FROM ops.sources") == [("nobody", "main")]


def test_an_open_stay_has_its_days_up_to_today_in_its_facility(two: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit_module, "NOW", "SELECT timestamptz '2026-03-04 20:00Z'")  # already the 5th in Tokyo
    two.commit(stay("a", "admitted", 16), east(stay("b", "admitted", 16, encounter_id="E2")))
    assert set(marked(two)) == days_of("encounters", "main", MARCH[1:4]) | days_of("encounters", "tokyo", MARCH[2:5])


def test_a_row_that_another_facility_takes_over_marks_days_of_both(two: Bench) -> None:
    two.commit(lab("a", "resulted", 16))
    before = marked(two)
    two.commit(east(lab("b", "corrected", 16, 17)))
    assert raised(two, before) == {("lab_results", "main", MARCH[1]), ("lab_results", "tokyo", MARCH[2])}


@pytest.mark.parametrize("ends", [(), ("source",)])
def test_a_stay_that_another_facility_takes_over_marks_each_day_of_both(two: Bench, ends: tuple[str, ...]) -> None:
    folds = [replace(f, ends=(*f.ends, *ends)) if f.table == "encounters" else f for f in two.plan.folds]
    two.committer.close()
    two.committer = two.new_committer(replace(two.plan, folds=tuple(folds)))
    two.commit(stay("a", "admitted", 16), stay("d", "discharged", 100))  # New York: the 2nd to the 5th
    before = marked(two)
    two.commit(east(stay("e", "discharged", 100, 101)))
    both = days_of("encounters", "main", MARCH[1:5]) | days_of("encounters", "tokyo", MARCH[2:6])
    assert raised(two, before) == both
    assert two.not_as_folded() == []


def a_day_in_both(bench: Bench) -> Marked:
    """A result in each facility at the same moment, and a stay of each."""
    bench.commit(
        lab("a", "resulted", 16),
        east(lab("b", "resulted", 16, lab_result_id="L2")),
        *(stay("c", "admitted", 16), stay("d", "discharged", 60)),
        *(east(stay("e", "admitted", 16, encounter_id="E2")), east(stay("f", "discharged", 60, encounter_id="E2"))),
    )
    return marked(bench)


def test_a_change_of_one_zone_raises_the_days_of_that_facility_alone(two: Bench, said: Said) -> None:
    before = a_day_in_both(two)
    since = "SELECT facility, since FROM ops.facilities ORDER BY 1"
    was = dict(two.rows(since))
    said(TWO.replace("Asia/Tokyo", "Europe/Berlin"))
    found = raised(two, before)
    assert {facility for _, facility, _ in found} == {"tokyo"}
    assert {day for day in before if day[1] == "tokyo"} <= found, (
        "what was known is built again, and is empty if need be"
    )
    assert ("lab_results", "tokyo", MARCH[1]) in found, "where the rows lie now"
    now = dict(two.rows(since))
    assert now["main"] == was["main"] and now["tokyo"] > was["tokyo"]
    assert two.rows("SELECT observed_day FROM mart.labs") == [(MARCH[1],)] * 2


def test_a_change_of_the_setting_raises_the_days_of_the_default_facility_alone(two: Bench) -> None:
    before = a_day_in_both(two)
    changed = apply_facilities(two.settings.model_copy(update={"facility_timezone": "Europe/Berlin"}))
    assert changed == ["facility main: its days are those of Europe/Berlin, was America/New_York"]
    assert {facility for _, facility, _ in raised(two, before)} == {"main"}


def test_a_source_that_moves_raises_the_days_of_its_rows_in_both_and_no_others(two: Bench, said: Said) -> None:
    two.commit(lab("x", "resulted", 100, lab_result_id="L8"))  # New York alone: the 5th
    two.commit(("labs", {**lab("y", "resulted", 130, lab_result_id="L9")[1], "source": "nobody"}))  # the 7th
    before = a_day_in_both(two)
    said(MOVED)
    of_east = days_of("lab_results", "tokyo", [MARCH[2]]) | days_of("encounters", "tokyo", MARCH[2:4])
    moved = days_of("lab_results", "main", [MARCH[1]]) | days_of("encounters", "main", MARCH[1:4])
    assert raised(two, before) == of_east | moved
    assert two.rows("SELECT facility FROM ops.sources WHERE source = 'east'") == [("main",)]
    assert two.rows("SELECT DISTINCT facility FROM mart.labs") == [("main",)]
    with pytest.raises(Fenced):
        two.commit(lab("z", "resulted", 1, lab_result_id="L7"))
    before = marked(two)
    said(MOVED)
    assert raised(two, before) == set(), "nothing has changed"
    said(TWO)
    assert raised(two, before) == of_east | moved


def test_another_name_of_the_default_facility_makes_no_day_stale(two: Bench, said: Said) -> None:
    before = a_day_in_both(two)
    two.admin.execute(
        "INSERT INTO ops.day_builds (mart_table, facility, day, version, as_of)"
        " VALUES ('daily_diagnoses', 'main', '2026-03-02', 9, '2026-03-03');"
        " INSERT INTO mart.daily_diagnoses (facility, day, code_system, code, chapter, chapter_title, diagnoses,"
        " primary_diagnoses, patients, encounters) VALUES ('main', '2026-03-02', 's', 'c', '1', 't', 1, 1, 1, 1)"
    )
    since = two.rows("SELECT since FROM ops.facilities ORDER BY 1")
    said("default_facility: centre\n" + TWO)
    renamed = {(table, "centre" if f == "main" else f, day): version for (table, f, day), version in before.items()}
    assert marked(two) == renamed
    assert sorted(two.rows("SELECT since FROM ops.facilities")) == sorted(since)
    with pytest.raises(Fenced):  # it would file a new source under the old name
        two.commit(("labs", {**lab("z", "resulted", 1, lab_result_id="L7")[1], "source": "nobody"}))
    for table in ("ops.day_builds", "mart.daily_diagnoses"):
        assert two.rows(f"SELECT facility, day FROM {table}") == [("centre", MARCH[1])]
    with pytest.raises(psycopg.errors.ForeignKeyViolation):  # a build that began before
        two.admin.execute(
            "INSERT INTO ops.day_builds (mart_table, facility, day, version, as_of)"
            " VALUES ('daily_labs', 'main', '2026-03-02', 9, '2026-03-03')"
        )


def test_a_file_that_says_otherwise_than_the_database_is_named(two: Bench) -> None:
    a_day_in_both(two)
    file = two.settings.schemas_dir / "sources.yaml"

    def faults(text: str) -> list[str]:
        file.write_text(text)
        with connect(two.settings.writer_url, "test") as conn:
            return check_plan(conn, load_contracts(two.settings.schemas_dir), two.plan)

    end = "; run `wardstream migrate`"
    assert faults(TWO) == []
    assert faults(MOVED) == [f"schemas/sources.yaml: source east is in main, but its days are those of tokyo{end}"]
    osaka = TWO.replace("{tokyo:", "{osaka: {timezone: Asia/Tokyo}, tokyo:")
    assert faults(osaka) == [f"schemas/sources.yaml: facility osaka is not in the database{end}"]
    assert faults("default_facility: centre\n" + TWO)[0] == (
        f"schemas/sources.yaml: facility centre is not in the database{end}"
    )


def test_a_core_table_without_a_source_is_named(two: Bench) -> None:
    with connect(two.settings.owner_url, "test") as conn, conn.transaction(force_rollback=True):
        conn.execute("ALTER TABLE core.lab_results DROP COLUMN source CASCADE")
        (fault,) = [said for said in check_plan(conn, two.contracts, two.plan) if "column source" in said]
    assert fault.startswith("sql/folds/lab_results.sql: core.lab_results has no column source")
    assert "decisions/0026" in fault


def test_a_database_with_one_facility_is_taken_over(said: Said) -> None:
    """As the version before left it, with a view of somebody's own that asks for the one zone."""
    settings = said(ONE_AUTHORITY.replace(", facility: tokyo", ""))
    bench = Bench(settings)
    before = a_day_in_both(bench)
    shown, generation = bench.digest(), bench.rows("SELECT generation FROM ops.streams")
    zones = bench.rows("SELECT facility, timezone, since FROM ops.facilities")
    rollback(settings, to_roll_back(settings, 1000).index("0030.facilities") + 1)
    bench.admin.execute("DELETE FROM ops.day_versions WHERE day > '2026-03-03'; GRANT ALL ON SCHEMA public TO PUBLIC")
    bench.admin.execute(
        "INSERT INTO ops.day_builds (mart_table, day, version, as_of)"
        " VALUES ('daily_labs', '2026-03-02', 9, '2026-03-03')"
    )
    with connect(settings.owner_url, "test") as conn:
        conn.execute(
            "CREATE VIEW public.theirs AS SELECT (observed_at AT TIME ZONE (SELECT timezone FROM ops.facility))::date"
            " FROM core.lab_results"
        )
    migrate(settings)
    assert marked(bench) == {day: version for day, version in before.items() if day[2] <= date(2026, 3, 3)}
    assert bench.rows("SELECT facility, day, version FROM ops.day_builds") == [("main", MARCH[1], 9)]
    assert bench.rows("SELECT facility, timezone, since FROM ops.facilities") == zones
    assert bench.digest() == shown
    assert bench.rows("SELECT * FROM public.theirs") == [(MARCH[1],)] * 2
    assert bench.rows("SELECT generation FROM ops.streams") > generation
    bench.admin.execute("DROP VIEW public.theirs")
    bench.committer.close()
    bench.admin.close()


def test_the_version_before_counts_all_in_one_facility(two: Bench) -> None:
    """Rolled back, the days of two facilities are days of one: all of them are built again."""
    a_day_in_both(two)
    settings = two.settings
    rollback(settings, to_roll_back(settings, 1000).index("0030.facilities") + 1)
    assert two.rows("SELECT timezone FROM ops.facility") == [("Etc/UTC",)], "another than the setting: it is applied"
    assert set(two.rows("SELECT core_table, day FROM ops.day_versions")) >= {
        ("lab_results", MARCH[1]),
        ("lab_results", MARCH[2]),
    }
    migrate(settings)
    assert set(marked(two)) >= days_of("lab_results", "main", [MARCH[1]]) | days_of("lab_results", "tokyo", [MARCH[2]])
