"""Where a database has replayed data in time: stored once, repeated to the event, and no second place beside it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from tests.integration.conftest import another_database
from tests.unit.sources import mimic_files
from wardstream.database.connection import Connection, connect
from wardstream.database.migrate import migrate, rollback
from wardstream.settings import Settings, get_settings
from wardstream.sources.mimic.events import SOURCE, Fact, events
from wardstream.sources.mimic.recent import Recent, Window, last_stays
from wardstream.sources.mimic.windows import PlacementError, open_window, refuse_moved
from wardstream.sources.replay_commands import app

ROW = "SELECT source, days, ends_at, timezone FROM ops.replay_windows"


@dataclass
class Shelf:
    """A database of its own, and what a test does to it."""

    settings: Settings
    owner: Connection

    def rows(self, query: str = ROW) -> list[tuple[Any, ...]]:
        return self.owner.execute(query.encode()).fetchall()

    def sql(self, statement: str, *parameters: Any) -> None:
        self.owner.execute(statement.encode(), parameters or None)


@pytest.fixture(scope="module")
def only_shelf(server: Settings) -> Iterator[Shelf]:
    settings = another_database(server, "wardstream_windows")
    migrate(settings)
    with connect(settings.owner_url, "test") as owner:
        yield Shelf(settings, owner)


@pytest.fixture
def shelf(only_shelf: Shelf) -> Shelf:
    only_shelf.sql("TRUNCATE ops.replay_windows, core.patients")
    return only_shelf


def person(shelf: Shelf, source: str) -> None:
    """Somebody of a source whom the stream has committed."""
    shelf.sql(
        "INSERT INTO core.patients"
        " (authority, patient_id, status, source, recorded_at, source_seq, event_id, content_hash)"
        " VALUES ('a', '1', 'active', %s, now(), 0, 'e', '')",
        source,
    )


def replay(settings: Settings, folder: Path) -> list[Fact]:
    """What `wardstream replay mimic-iii --recent 90d` sends."""
    window = open_window(settings, SOURCE, 90)
    return list(events(folder, settings.zone, None, Recent(window, settings.zone, last_stays(folder))))


# -- stored once ---------------------------------------------------------------------------------------------------


def test_the_end_is_the_minute_of_the_first_use(shelf: Shelf):
    before = shelf.rows("SELECT date_trunc('minute', clock_timestamp())")[0][0]
    window = open_window(shelf.settings, SOURCE, 90)
    after = shelf.rows("SELECT clock_timestamp()")[0][0]
    assert before <= window.end <= after
    assert (window.end.second, window.end.microsecond, window.end.tzinfo) == (0, 0, UTC)
    assert window.start == window.end - timedelta(days=90)
    assert shelf.rows() == [(SOURCE, 90, window.end, shelf.settings.facility_timezone)]


def test_a_day_later_it_is_the_same(shelf: Shelf, tmp_path: Path):
    """As if the first use had been yesterday: its end holds, and the events are the same to the byte."""
    open_window(shelf.settings, SOURCE, 90)
    shelf.sql("UPDATE ops.replay_windows SET ends_at = ends_at - interval '1 day'")
    stored = shelf.rows()
    mimic_files.write(tmp_path)
    first = replay(shelf.settings, tmp_path)
    person(shelf, SOURCE)  # and now the stream has committed them
    assert replay(shelf.settings, tmp_path) == first != []
    assert shelf.rows() == stored
    assert open_window(shelf.settings, SOURCE, 90) == Window(stored[0][2], 90)


def test_first_uses_at_the_same_time_agree(shelf: Shelf):
    """One of them inserts; the others wait for it and read what it stored. Each has a clock of its own, as it were."""
    many = 8
    at_once = threading.Barrier(many)
    slow = """
        CREATE FUNCTION ops.linger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            NEW.ends_at = NEW.ends_at - make_interval(mins => pg_backend_pid() % 1000);
            PERFORM pg_sleep(0.2);
            RETURN NEW;
        END $$;
        CREATE TRIGGER linger BEFORE INSERT ON ops.replay_windows FOR EACH ROW EXECUTE FUNCTION ops.linger();
    """

    def first_use(_: int) -> Window:
        at_once.wait()
        return open_window(shelf.settings, SOURCE, 90)

    shelf.sql(slow)
    try:
        with ThreadPoolExecutor(many) as pool:
            found = set(pool.map(first_use, range(many)))
    finally:
        shelf.sql("DROP TRIGGER linger ON ops.replay_windows; DROP FUNCTION ops.linger()")
    assert found == {Window(row[2], row[1]) for row in shelf.rows()}
    assert len(found) == 1


def test_each_source_has_its_own(shelf: Shelf):
    person(shelf, "sample")
    open_window(shelf.settings, SOURCE, 90)
    open_window(shelf.settings, "another", 14)
    assert [row[:2] for row in sorted(shelf.rows())] == [("another", 14), (SOURCE, 90)]


def test_the_writer_may_not_move_it(shelf: Shelf):
    open_window(shelf.settings, SOURCE, 90)
    for statement in (b"UPDATE ops.replay_windows SET days = 1", b"DELETE FROM ops.replay_windows"):
        with connect(shelf.settings.writer_url, "test") as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(statement)


# -- no second place -----------------------------------------------------------------------------------------------


def test_another_length_is_refused(shelf: Shelf):
    open_window(shelf.settings, SOURCE, 90)
    stored = shelf.rows()
    with pytest.raises(
        PlacementError, match=r"has mimic-iii in the 90 days up to .* UTC .*Repeat with --recent 90d, or"
    ):
        open_window(shelf.settings, SOURCE, 84)
    assert shelf.rows() == stored


def test_another_zone_is_refused(shelf: Shelf):
    open_window(shelf.settings, SOURCE, 90)
    abroad = shelf.settings.model_copy(update={"facility_timezone": "Europe/Berlin"})
    with pytest.raises(PlacementError, match=r"clock of America/New_York, and .* is Europe/Berlin now"):
        open_window(abroad, SOURCE, 90)


def test_moved_is_refused_where_unmoved_are(shelf: Shelf):
    person(shelf, SOURCE)
    with pytest.raises(PlacementError, match=r"core\.patients has people of mimic-iii at the dates of its files"):
        open_window(shelf.settings, SOURCE, 90)
    assert shelf.rows() == []
    refuse_moved(shelf.settings, SOURCE)


def test_unmoved_is_refused_where_moved_are(shelf: Shelf):
    refuse_moved(shelf.settings, SOURCE)
    open_window(shelf.settings, SOURCE, 90)
    with pytest.raises(PlacementError, match=r"has mimic-iii in the 90 days .*Repeat with --recent 90d, or .*reset"):
        refuse_moved(shelf.settings, SOURCE)
    refuse_moved(shelf.settings, "sample")


def test_unmoved_needs_no_postgresql(shelf: Shelf, caplog: pytest.LogCaptureFixture):
    nobody = shelf.settings.model_copy(update={"database_url": "postgresql://nobody@127.0.0.1:1/none"})
    refuse_moved(nobody, SOURCE)
    assert "PostgreSQL does not answer" in caplog.text
    with pytest.raises(psycopg.OperationalError):
        open_window(nobody, SOURCE, 90)


def test_a_database_that_is_not_migrated(server: Settings):
    settings = another_database(server, "wardstream_windows_empty")
    refuse_moved(settings, SOURCE)
    with pytest.raises(PlacementError, match="wardstream migrate"):
        open_window(settings, SOURCE, 90)


def test_the_commands_refuse_in_one_line(shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DATABASE_URL", shelf.settings.writer_url)
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", "http://127.0.0.1:1")  # nor the topics of a stack that runs here
    get_settings.cache_clear()
    try:
        wrong = CliRunner().invoke(app, ["mimic-iii", str(tmp_path), "--recent", "90d"])
        assert (wrong.exit_code, len(wrong.output.splitlines())) == (1, 1)
        assert "ADMISSIONS.csv.gz (or .csv) is not in" in wrong.output
        assert shelf.rows() == [], "a wrong folder leaves no window behind"
        open_window(shelf.settings, SOURCE, 90)
        mimic_files.write(tmp_path)
        for words in ([], ["--recent", "12w"]):
            refused = CliRunner().invoke(app, ["mimic-iii", str(tmp_path), *words])
            assert (refused.exit_code, len(refused.output.splitlines())) == (1, 1)
            assert "Repeat with --recent 90d" in refused.output
    finally:
        get_settings.cache_clear()


# -- the real demo -------------------------------------------------------------------------------------------------


def test_the_demo_twice(shelf: Shelf):
    folder = mimic_files.demo()
    first = replay(shelf.settings, folder)
    (end,) = [row[2] for row in shelf.rows()]
    times = [value for _, event in first for value in event.values() if isinstance(value, datetime)]
    assert max(times) <= end
    assert max(value for _, event in first for value in event.values() if type(value) is date) <= end.date()
    admitted = {event["encounter_id"] for _, event in first if event["kind"] == "admitted"}
    discharged = {event["encounter_id"] for _, event in first if event["kind"] == "discharged"}
    assert len({event["patient_id"] for topic, event in first if topic == "patients"}) == 100
    assert discharged < admitted and len(admitted - discharged) >= 1
    assert replay(shelf.settings, folder) == first


# -- the migration -------------------------------------------------------------------------------------------------


def test_every_column_has_a_comment_and_the_rollback_takes_all_back(server: Settings):
    settings = another_database(server, "wardstream_windows_rollback")
    migrate(settings)
    silent = (
        "SELECT a.attname FROM pg_attribute a WHERE a.attrelid = 'ops.replay_windows'::regclass AND a.attnum > 0"
        " AND NOT a.attisdropped AND col_description(a.attrelid, a.attnum) IS NULL"
    )
    with connect(settings.owner_url, "test") as owner:
        assert owner.execute(silent).fetchall() == []
        assert owner.execute(
            "SELECT has_table_privilege('wardstream_bi', 'ops.replay_windows', 'SELECT')"
        ).fetchone() == (False,)
    rollback(settings)
    migrate(settings)
