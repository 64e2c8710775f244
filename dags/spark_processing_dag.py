"""
### Build the day's aggregates

Builds the daily tables (`mart.daily_admissions` and the like: one folder each in `sql/marts`) for the days that changed
since they were built last (*stale* days), with one Spark job. A day changes when an event for it arrives, however late,
and when the definition of its table changes.

* **Owner**: the data team
* **Schedule**: `WARDSTREAM_DAILY_SCHEDULE` (every 15 minutes); also by hand, and by `wardstream airflow backfill`
* **Parameters**: `first_day`, `last_day` look only at stale days in that range (days of each facility, both included);
  with `all_days` every day of the range is built, stale or not; it needs both.
* **A range of days again**: trigger one run with `first_day`, `last_day` and `all_days`. **Backfill** works, too: the
  run in whose interval a day of the facility begins builds all of it, stale or not, the others skip. With one run every
  15 minutes that is 96 runs a day, so name the interval alone; New York's 1 March, whose midnight is 05:00 UTC:
  `wardstream airflow backfill create --dag-id spark_processing_dag --reprocess-behavior completed
  --from-date 2026-03-01T05:00 --to-date 2026-03-01T05:15`
* **May it be re-run?** Yes. A day that is not stale is not built again, and an older build never replaces a newer one.
* **When it fails**: the old rows stay as they were. The log of `build` ends with the check that failed and its days, or
  the server that did not answer; `docs/runbooks/a-dag-failed.md`. The next run takes the same days up again. A build of
  more than six hours is ended; the newest days come first, what is in place stays, and the next run goes on.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import CronDataIntervalTimetable, Param, dag, get_current_context, task

from wardstream.airflow.assets import core_tables_of_marts, mart_tables
from wardstream.airflow.dag_docs import dag_docs, zones_of_days
from wardstream.airflow.support import HOUSE_RULES, plain_errors, say
from wardstream.daily.jvm import SUBMIT, jdbc_jars
from wardstream.settings import PROJECT_ROOT, get_settings

PATIENCE = timedelta(hours=6)  # the first build of many years
ZONES = zones_of_days()
DAY: dict[str, Any] = {"type": ["null", "string"], "format": "date"}
PARAMS = {
    "first_day": Param(None, **DAY, title="First day", description=f"`first_day`, in {ZONES}. Empty: no bound."),
    "last_day": Param(None, **DAY, title="Last day", description=f"`last_day`, in {ZONES}. Empty: no bound."),
    "all_days": Param(
        False, type="boolean", title="Also days that are not stale", description="`all_days`. Needs both days."
    ),
}


@dag(
    dag_id="spark_processing_dag",
    description="Build the daily tables for the days that changed",
    schedule=CronDataIntervalTimetable(get_settings().daily_schedule, timezone="UTC"),
    start_date=datetime(2020, 1, 1),
    doc_md=dag_docs(__doc__),
    tags=["wardstream", "daily"],
    params=PARAMS,
    **(HOUSE_RULES | {"dagrun_timeout": PATIENCE + timedelta(hours=1)}),
)
def spark_processing() -> None:
    @task.short_circuit
    def find_stale_days() -> list[str]:
        """The job's arguments; none, which skips the rest, where nothing is to build."""
        from wardstream.airflow.daily_choice import choose

        context: Any = get_current_context()
        with plain_errors():
            choice = choose(get_settings(), context["params"], context["dag_run"])
        say(choice.said)
        return choice.arguments

    @task
    def report() -> None:
        """What was built, and what is stale still."""
        from wardstream.airflow.daily_choice import built_since

        context: Any = get_current_context()
        with plain_errors():
            say(built_since(get_settings(), context["dag_run"].start_date))

    stale: Any = find_stale_days()
    build = SparkSubmitOperator(
        task_id="build",
        application=str(PROJECT_ROOT / "spark_jobs" / "daily.py"),
        conn_id="spark_default",
        name="wardstream daily",
        driver_memory=get_settings().daily_driver_memory,
        conf=SUBMIT,
        jars=jdbc_jars(get_settings().spark_jars) or None,
        execution_timeout=PATIENCE,
        inlets=core_tables_of_marts(),
        outlets=mart_tables(),
        application_args=stale,  # days only; the job has its settings from the environment
    )
    stale >> build >> report()


spark_processing()
