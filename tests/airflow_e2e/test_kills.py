"""kill -9 of the scheduler, of the api-server, and of a task in the middle of each DAG: all ends as desired.

A task is held in its middle by a lock on a table that it needs, so that it is certainly killed at work and not before
or after. A thread counts the stream's JVMs all the time: there is never a second one. In the end every process of the
stack is a descendant of the process manager.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.airflow_e2e.clinic import Clinic
from tests.e2e.hospital import DEADLINE_SECONDS, wait_for
from wardstream import stack
from wardstream.daily.stale import count_stale

# A table that the DAG needs, and what the run is asked for.
HELD = {
    "platform_setup_dag": ("public._yoyo_migration", {}),
    "kafka_to_postgres_dag": ("ops.stream_control", {"action": "restart"}),
    "spark_processing_dag": ("mart.daily_labs", {}),
}


@contextlib.contextmanager
def at_work(clinic: Clinic, dag_id: str) -> Iterator[str]:
    """Inside: a run of the DAG whose task waits for a table; the table is free again afterwards."""
    table, conf = HELD[dag_id]
    # waited for until the block ends, however it ends
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = %s::regclass"
    with clinic.connect() as conn, conn.transaction():
        conn.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        run_id = clinic.api.trigger(dag_id, conf)
        wait_for(f"a task of {dag_id}", lambda: running(clinic, dag_id, run_id))
        # somebody waits for the table: of ops.stream_control that may be the stream, and the task a moment later
        wait_for(f"{table} to be wanted", lambda: conn.execute(waiting, [table]).fetchone() != (0,))
        yield run_id


def running(clinic: Clinic, dag_id: str, run_id: str) -> list[dict[str, Any]]:
    """The tasks of a run that have a process now; of the daily build the one that is held, its job."""
    wanted = "build" if dag_id == "spark_processing_dag" else ""
    tasks = clinic.api.tasks(dag_id, run_id)
    return [task for task in tasks if task["state"] == "running" and task["pid"] and wanted in task["task_id"]]


def something_to_build(clinic: Clinic) -> None:
    """Every day becomes stale, as after a change of the facility's settings."""
    clinic.rows("UPDATE ops.day_versions SET version = nextval('ops.commit_seq') RETURNING 1")


def kill_task(clinic: Clinic, dag_id: str, run_id: str) -> None:
    """The process of this run's task that is at work, by the pid that Airflow knows."""
    os.kill(int(running(clinic, dag_id, run_id)[0]["pid"]), signal.SIGKILL)


def kill_part(clinic: Clinic, part: str) -> None:
    os.kill(stack.pids(clinic.settings)[part], signal.SIGKILL)


BRIEFLY = [("kafka_to_postgres_dag", "scheduler")]
KILLS = [
    ("platform_setup_dag", "task"),
    ("kafka_to_postgres_dag", "task"),
    ("spark_processing_dag", "task"),
    ("spark_processing_dag", "scheduler"),
    ("kafka_to_postgres_dag", "api-server"),
]


class Watch:
    """Counts the stream's JVMs from a thread of its own."""

    def __init__(self, clinic: Clinic) -> None:
        self.most = 0
        self._clinic = clinic
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._count, daemon=True)

    def _count(self) -> None:
        while not self._end.wait(0.3):
            self.most = max(self.most, len(self._clinic.drivers()))

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


def run_round(clinic: Clinic, kills: list[tuple[str, str]]) -> None:
    """Each kill at work; then every run is green, the stream runs, nothing is stale, verify finds nothing."""
    clinic.green("spark_processing_dag")  # nothing is left for a scheduled run that a kill would hit as well
    for dag_id, kill in kills:
        if dag_id == "spark_processing_dag":
            something_to_build(clinic)
        with at_work(clinic, dag_id) as run_id:
            kill_task(clinic, dag_id, run_id) if kill == "task" else kill_part(clinic, kill)
        state = clinic.patiently(partial(clinic.api.wait, dag_id, run_id, DEADLINE_SECONDS))
        assert state == "success", f"{kill} of {dag_id} {run_id}: {state}"
        clinic.no_orphans()
    assert sum(count_stale(clinic.settings).values()) == 0
    clinic.verified()


def test_the_scheduler_in_the_middle_of_a_task(clinic: Clinic) -> None:
    with Watch(clinic) as watch:
        run_round(clinic, BRIEFLY)
    assert watch.most == 1


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_three_rounds(clinic: Clinic) -> None:
    with Watch(clinic) as watch:
        for _ in range(3):
            run_round(clinic, KILLS)
    assert watch.most == 1
