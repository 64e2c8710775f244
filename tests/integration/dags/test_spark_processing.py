"""spark_processing_dag: nothing stale, days built by a real spark-submit, a check that fails, ranges, backfills."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.integration.alerts.conftest import Webhook
from tests.integration.commit.bench import Bench
from tests.integration.commit.facts import lab, stay
from tests.integration.dags.conftest import Go, execute
from wardstream.settings import Settings

DAG = "spark_processing_dag"
GREEN = dict.fromkeys(["find_stale_days", "build", "report"], "success")
SKIPPED = GREEN | {"build": "skipped", "report": "skipped"}
# Tuesday 3 March 2026 begins in New York at 05:00 UTC.
BEGINS = ("2026-03-03T05:00:00+00:00", "2026-03-03T05:15:00+00:00")
DOES_NOT_BEGIN = ("2026-03-03T00:00:00+00:00", "2026-03-03T00:15:00+00:00")


def _builds(settings: Settings) -> list[tuple[Any, ...]]:
    return execute(settings, "SELECT mart_table, day, version, built_at FROM ops.day_builds ORDER BY 1, 2")


@pytest.fixture
def filled(ready: Settings) -> Settings:
    """A stay of two days with two laboratory results."""
    Bench(ready).commit(
        stay("a", "admitted", 10),
        stay("d", "discharged", 40),
        lab("x", "resulted", 12, test_code="NA", value_number=140.0),
        lab("y", "resulted", 36, test_code="NA", value_number=138.0, lab_result_id="L2"),
    )
    return ready.model_copy(update={"daily_driver_memory": "600m"})


def test_nothing_stale_skips_the_build_and_is_green(runner: Go, ready: Settings):
    run = runner(DAG, ready)
    assert (run.state, run.tasks) == ("success", SKIPPED)
    assert run.lines("mart.daily_labs: 0 stale days") and run.lines("nothing to build")


def test_stale_days_are_built_once_and_a_backfill_builds_its_day_again(runner: Go, filled: Settings, hook: Webhook):
    run = runner(DAG, filled)
    assert (run.state, run.tasks) == ("success", GREEN), run.log[-3000:]
    assert run.lines("mart.daily_labs: 2 stale days, 2026-03-02 to 2026-03-03")
    assert run.lines("--first 2026-03-02 --last 2026-03-03")  # the job's arguments, in spark-submit's command line
    assert run.lines("mart.daily_labs: 2 days built, 2026-03-02 to 2026-03-03; 0 stale now")
    assert execute(filled, "SELECT count(*) FROM mart.daily_labs") == [(2,)]
    built = _builds(filled)
    assert {row[0] for row in built} == {"daily_admissions", "daily_labs"}

    again = runner(DAG, filled)
    assert (again.state, again.tasks) == ("success", SKIPPED)
    assert _builds(filled) == built

    skipping = runner(DAG, filled, run_type="backfill", interval=DOES_NOT_BEGIN)
    assert (skipping.state, skipping.tasks) == ("success", SKIPPED)
    assert skipping.lines("no day of America/New_York begins in it")

    building = runner(DAG, filled, run_type="backfill", interval=BEGINS)
    assert (building.state, building.tasks) == ("success", GREEN), building.log[-3000:]
    assert building.lines("--first 2026-03-03 --last 2026-03-03 --all-days")
    after = _builds(filled)
    later = {(new[0], str(new[1])) for new, old in zip(after, built, strict=False) if new[3] > old[3]}
    assert {day for _, day in later} == {"2026-03-03"}
    assert {row[:2] for row in built} <= {row[:2] for row in after}
    assert hook.got == []


def test_a_range_without_a_stale_day_builds_nothing(runner: Go, filled: Settings):
    run = runner(DAG, filled, {"first_day": "2026-02-01", "last_day": "2026-03-01"})
    assert (run.state, run.tasks) == ("success", SKIPPED)
    assert _builds(filled) == []


def test_a_failing_check_fails_the_task_keeps_the_old_rows_and_is_told(
    runner: Go, filled: Settings, hook: Webhook, tmp_path: Path
):
    sql = tmp_path / "sql"
    shutil.copytree(filled.sql_dir, sql)
    (sql / "marts" / "daily_labs" / "checks.sql").write_text("SELECT 'a made-up fault' AS fault, day FROM built")
    broken = filled.model_copy(update={"sql_dir": sql})
    run = runner(DAG, broken, {"last_day": "2026-03-02"}, tasks={"build": {"retries": 0}})
    assert run.state == "failed"
    assert run.tasks == GREEN | {"build": "failed", "report": "upstream_failed"}
    assert run.lines("mart.daily_labs: a check failed, the old rows of these days stay: a made-up fault: 2026-03-02")
    assert execute(filled, "SELECT count(*) FROM mart.daily_labs") == [(0,)]
    [alert] = hook.got
    assert alert["key"] == f"dag:{DAG}" and "failed in task build" in alert["what"]


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"first_day": "2026-03-03", "last_day": "2026-03-02"}, "the last day, 2026-03-02, lies before the first"),
        ({"all_days": True}, "--all-days needs --first and --last"),
        ({"all_days": True, "first_day": "2026-03-02"}, "--all-days needs --first and --last"),
    ],
)
def test_parameters_that_are_no_range_fail_at_once(runner: Go, ready: Settings, params: dict[str, Any], said: str):
    run = runner(DAG, ready, params)
    assert run.state == "failed" and run.tries["find_stale_days"] == 1
    assert run.lines(said)


def test_what_is_no_day_is_refused_before_anything_runs(runner: Go, ready: Settings):
    with pytest.raises(AssertionError, match="2026-13-40"):
        runner(DAG, ready, {"first_day": "2026-13-40"})


def test_a_job_that_cannot_start_fails_and_says_why(runner: Go, filled: Settings):
    run = runner(DAG, filled, tasks={"build": {"retries": 0, "_spark_binary": "spark3-submit"}})
    assert run.tasks["build"] == "failed"
    assert run.lines("spark3-submit")
