"""`wardstream demo`: everything once, from nothing to the first daily aggregates, with what a user would trigger.

Start the stack, replay data, have Airflow set the platform up, start the stream and build the days, and verify.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

from wardstream.airflow.api import FINISHED, AirflowApi, AirflowError
from wardstream.daily.marts import load_marts
from wardstream.daily.stale import count_stale
from wardstream.database.connection import connect, scalar, trusted
from wardstream.proof.report import Report
from wardstream.proof.verify import verify
from wardstream.settings import PROJECT_ROOT, Settings
from wardstream.sources.replay_commands import replay_demo
from wardstream.stack.env import stream_environment
from wardstream.stack.parts import airflow
from wardstream.stack.steps import Say
from wardstream.stack.up import start
from wardstream.stream.control import request

RUN_SECONDS = 300.0
PATIENCE_SECONDS = 120.0
AT_ONCE = ("platform_setup_dag", "kafka_to_postgres_dag")
DAYS = "spark_processing_dag"


class DemoError(Exception):
    """A step of the demo failed."""


def demo(settings: Settings, mimic: Path | None, say: Say) -> Report:
    """Run the demo; verify's report. StackError, AirflowError or DemoError where a step fails."""
    start(settings, stream=True, say=say)
    replay_demo(settings, mimic)
    if airflow.is_embedded(settings):
        api = AirflowApi(settings)
        api.wait_until_parsed([*AT_ONCE, DAYS], RUN_SECONDS)
        _run(api, AT_ONCE, say)
        report = verify(settings, PATIENCE_SECONDS)
        build_by_airflow(settings, api, say)
    else:
        request(settings, "start", by=f"demo-{uuid.uuid4()}")
        report = verify(settings, PATIENCE_SECONDS)
        _build(settings)
    _say_days(settings, say)
    return report


def _build(settings: Settings) -> None:
    """What spark_processing_dag does, without Airflow."""
    values = {**os.environ, **stream_environment(settings)}
    done = subprocess.run([sys.executable, "-m", "spark_jobs.daily"], env=values, cwd=PROJECT_ROOT, check=False)
    if done.returncode:
        raise DemoError("the daily aggregates were not built; the lines above say why")


def build_by_airflow(settings: Settings, api: AirflowApi, say: Say) -> None:
    """A green run of spark_processing_dag after which no day is stale.

    One of the schedule counts as well: a run of ours would wait behind it, to find nothing left to build.
    """
    runs = api.runs(DAYS)
    while active := [run["dag_run_id"] for run in runs if run["state"] not in FINISHED]:
        say(f"Airflow: {DAYS} runs already, by its schedule; waiting for that one")
        api.wait(DAYS, active[-1], RUN_SECONDS, lambda word: say(f"Airflow: {word}"))
        runs = api.runs(DAYS)
    if runs and runs[0]["state"] == "success" and not any(count_stale(settings).values()):
        say(f"Airflow: {DAYS:<22} success, by its schedule; no day is stale")
    else:
        _run(api, [DAYS], say)


def _run(api: AirflowApi, dag_ids: tuple[str, ...] | list[str], say: Say) -> None:
    """Trigger DAGs, wait for all of them, and fail where one does."""
    begun = time.monotonic()
    runs = {dag_id: api.trigger(dag_id) for dag_id in dag_ids}
    say(f"Airflow: triggered {', '.join(dag_ids)}; this takes a while")
    for dag_id, run_id in runs.items():
        state = api.wait(dag_id, run_id, RUN_SECONDS, lambda word: say(f"Airflow: {word}"))
        where = f"{api.base}/dags/{dag_id}/runs/{run_id}"
        if state != "success":
            raise AirflowError(f"{dag_id}: {state}; the log of its tasks says why: {where}")
        say(f"Airflow: {dag_id:<22} {state} after {time.monotonic() - begun:.1f} s")


def _say_days(settings: Settings, say: Say) -> None:
    with connect(settings.writer_url, "wardstream demo") as conn:
        for table in (mart.table for mart in load_marts(settings.sql_dir)):
            rows, days = (
                scalar(conn, trusted(f"SELECT {what} FROM mart.{table}"))
                for what in ("count(*)", "count(DISTINCT day)")
            )
            say(f"mart.{table}: {rows} rows on {days} days")
