"""A process that runs DAGs with `dag.test()` for the tests: one JSON line in for a run, one out when it is over.

A process of its own, because Airflow takes its configuration when it is imported, and takes over logging; one for all
tests, because that import and the first use of the database cost ten seconds.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any


def _load(dag_id: str) -> Any:
    from airflow.dag_processing.dagbag import DagBag

    folder = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    bag = DagBag(dag_folder=str(folder / f"{dag_id}.py"))
    assert not bag.import_errors, bag.import_errors
    return bag.dags[dag_id]


def _as_of(run_type: str, interval: list[str]) -> Any:
    """Gives dag.test() a run as the scheduler makes it for a schedule or a backfill; by itself it makes manual ones."""
    from airflow.models import dagrun

    original = dagrun.get_or_create_dagrun

    def create(**arguments: Any) -> Any:
        run = original(**arguments)
        session = arguments["session"]
        run.run_type = run_type
        run.data_interval_start, run.data_interval_end = (datetime.fromisoformat(text) for text in interval)
        run.start_date = datetime.now(UTC)
        session.commit()
        return run

    dagrun.get_or_create_dagrun = create
    return original


def _run(asked: dict[str, Any]) -> dict[str, Any]:
    from airflow.models import dagrun

    from wardstream.settings import get_settings

    os.environ.update(asked["env"])
    get_settings.cache_clear()
    dag = _load(asked["dag"])
    for task in dag.tasks:
        task.retry_delay = timedelta(0)
        for name, value in asked["tasks"].get(task.task_id, {}).items():
            setattr(task, name, value)
    original = dagrun.get_or_create_dagrun
    arguments: dict[str, Any] = {"run_conf": asked["conf"], "mark_success_pattern": asked["skip"] or None}
    if asked["run_type"]:
        _as_of(asked["run_type"], asked["interval"])
        arguments["logical_date"] = datetime.fromisoformat(asked["interval"][0])
    try:
        run = dag.test(**arguments)
    finally:
        dagrun.get_or_create_dagrun = original
    return {
        "run_id": run.run_id,
        "state": str(run.state),
        "tasks": {ti.task_id: str(ti.state) if ti.state else None for ti in run.get_task_instances()},
        "tries": {ti.task_id: ti.try_number for ti in run.get_task_instances()},
    }


def main() -> None:
    """Answer runs until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    before = dict(os.environ)
    for line in sys.stdin:
        asked = json.loads(line)
        begun = os.lseek(log, 0, os.SEEK_END)
        try:
            answer = _run(asked)
        except Exception as error:  # noqa: BLE001 - the test that asked shows it
            answer = {"error": f"{type(error).__name__}: {error}"}
        finally:
            os.environ.clear()
            os.environ.update(before)
        sys.stdout.flush()
        sys.stderr.flush()
        text = Path(sys.argv[1]).read_bytes()[begun:].decode(errors="replace")
        answers.write(json.dumps({**answer, "log": text}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
