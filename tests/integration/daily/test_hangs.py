"""A build that gets no answer ends with an error: a lock, a long statement, a frozen PostgreSQL."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.hospital import wait_for
from tests.integration.commit.facts import lab
from tests.integration.daily.clinic import Clinic
from tests.integration.daily.test_job import how
from tests.integration.daily.test_which_days import MARCH, a_week
from wardstream.daily import spark as spark_module
from wardstream.daily.build import run
from wardstream.database.connection import connect
from wardstream.settings import Settings

pytestmark = pytest.mark.timeout(300)  # what is not ended takes ten minutes
READ = "daily_labs/reads/lab_results.sql"
SLOW = ("WHERE status", "WHERE pg_sleep(600) IS NOT NULL AND status")
SESSIONS = """
SELECT pid FROM pg_stat_activity
WHERE application_name = %s AND datname = current_database() AND (%s OR wait_event = 'PgSleep')
"""


@pytest.fixture
def stale_labs(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> Clinic:
    """One stale day of one table."""
    a_week(clinic)
    clinic.commit(lab("late", "resulted", 35, 200, lab_result_id="L9", test_code="NA"))
    monkeypatch.setattr(clinic.spark, "stop", lambda: None)
    return clinic


def ended(
    clinic: Clinic,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    afterwards: Callable[[], None] = lambda: None,
) -> str:
    """Build in this process; it must end with an error, which is returned, and leave the day stale."""
    assert run(settings, clinic.range(), lambda _settings: clinic.spark) == 1
    afterwards()
    assert clinic.stale("daily_labs") == [MARCH[2]]
    (error,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert error.startswith("mart.daily_labs: ")
    return error


@pytest.mark.parametrize("table", ["core.lab_results", "mart.daily_labs"])
def test_a_lock_of_another_session(stale_labs, caplog, table):
    settings = stale_labs.settings.model_copy(update={"daily_statement_seconds": 2})
    with connect(stale_labs.settings.owner_url, "test lock") as other, other.transaction():
        other.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
        assert "another session holds a lock" in ended(stale_labs, settings, caplog)
    stale_labs.build()
    assert stale_labs.stale("daily_labs") == []


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [(READ, *SLOW), ("daily_labs/checks.sql", "WHERE day NOT IN", "WHERE pg_sleep(600) IS NULL OR day NOT IN")],
)
def test_a_statement_that_takes_too_long(stale_labs, sql_of, caplog, name, right, wrong):
    settings = sql_of(name, right, wrong).model_copy(update={"daily_statement_seconds": 2})
    assert "took longer than WARDSTREAM_DAILY_STATEMENT_SECONDS" in ended(stale_labs, settings, caplog)


@pytest.fixture
def freeze(stale_labs: Clinic) -> Iterator[Callable[[str, bool], None]]:
    """Stop the server's side of sessions, as a machine that swaps does: their connections stay, nothing answers."""
    frozen: set[int] = set()

    def stop(application: str, whatever_it_does: bool) -> None:
        found = stale_labs.bench.rows(SESSIONS, application, whatever_it_does)
        for (pid,) in found:
            with contextlib.suppress(ProcessLookupError):  # it ended by itself
                os.kill(pid, signal.SIGSTOP)
                frozen.add(pid)

    yield stop
    for pid in frozen:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def reading(clinic: Clinic) -> bool:
    """Whether Spark waits for rows."""
    return bool(clinic.bench.rows(SESSIONS, "wardstream daily read", False))


def test_a_frozen_postgresql_ends_sparks_reads(stale_labs, sql_of, freeze, monkeypatch, caplog):
    monkeypatch.setattr(spark_module, "SILENCE_SECONDS", 2)
    settings = sql_of(READ, *SLOW).model_copy(update={"daily_statement_seconds": 5})

    over = threading.Event()

    def freezing() -> None:
        while not over.wait(0.1):
            freeze("wardstream daily read", False)

    thread = threading.Thread(target=freezing)
    thread.start()
    try:
        assert "PostgreSQL said nothing" in ended(stale_labs, settings, caplog, afterwards=over.set)
    finally:
        over.set()
        thread.join()


def test_a_frozen_postgresql_ends_the_job(stale_labs, sql_of, freeze):
    """The job's own session waits for ever in libpq: its clock is watched."""
    settings = sql_of(READ, *SLOW)
    more = {"sql_dir": settings.sql_dir, "daily_statement_seconds": 4}
    job = subprocess.Popen(
        [sys.executable, "-m", "spark_jobs.daily"], **how(stale_labs, **more), stderr=subprocess.PIPE
    )
    try:
        wait_for("the job to read", lambda: job.poll() is not None or reading(stale_labs), 120)
        freeze("wardstream daily", True)
        _, said = job.communicate(timeout=90)
    finally:
        job.kill()
    assert job.returncode == 1
    assert "no end after" in said and "the job ends; days not yet put in place stay stale" in said
    assert stale_labs.stale("daily_labs") == [MARCH[2]]
