"""A whole Wardstream with Airflow for tests: what users do over REST, and what the kernel says of processes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import psutil
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from tests.e2e.hospital import DEADLINE_SECONDS, Hospital, wait_for
from tests.integration.alerts.conftest import Webhook
from wardstream import stack
from wardstream.airflow.api import AirflowApi, AirflowError
from wardstream.stack.manager import manager_pid

RUN_SECONDS = 2 * DEADLINE_SECONDS  # one of the schedule may come first, and build every day
DAGS = ("platform_setup_dag", "kafka_to_postgres_dag", "spark_processing_dag", "stream_reconcile_dag")


@dataclass
class Clinic(Hospital):
    """A hospital whose day is run by Airflow, and which posts its alerts to a server of the test."""

    webhook: Webhook

    @cached_property
    def api(self) -> AirflowApi:
        """Airflow's REST API."""
        return AirflowApi(self.settings)

    def run(self, dag_id: str, **conf: Any) -> tuple[str, str]:
        """Trigger a DAG and wait for its end; run id and state."""
        run_id = self.api.trigger(dag_id, conf)
        return run_id, self.api.wait(dag_id, run_id, RUN_SECONDS)

    def green(self, dag_id: str, **conf: Any) -> str:
        """Trigger a DAG, which must succeed; its run id."""
        run_id, state = self.run(dag_id, **conf)
        assert state == "success", f"{dag_id} {run_id}: {state}"
        return run_id

    def builds(self) -> list[tuple[Any, ...]]:
        """Every row of ops.day_builds, the time of building included."""
        return self.rows("SELECT * FROM ops.day_builds ORDER BY mart_table, day")

    def drivers(self) -> list[psutil.Process]:
        """Processes of this stack that have a JVM for the stream: never more than one."""
        pid = stack.pids(self.settings).get("stream")
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.name() == "java" and self.belongs(process) and "wardstream-daily" not in _words(process):
                    parents = {parent.pid for parent in process.parents()}
                    if pid in parents or "spark_jobs.stream" in " ".join(map(_words, process.parents())):
                        found.append(process)
        return found

    def belongs(self, process: psutil.Process) -> bool:
        """Whether a process is of this stack: by the marker that all of a part's children inherit, or by its folder,
        since some of Airflow's write a title over their environment."""
        marked = process.environ().get("WARDSTREAM_PART", "").endswith(f"@{self.settings.state_dir}")
        return marked or process.cwd().startswith(str(self.settings.state_dir))

    def backfill(self, dag_id: str, first: str, last: str) -> None:
        """Create a backfill by Airflow's own command, for the intervals from first to last (UTC)."""
        days = ("--from-date", first, "--to-date", last, "--reprocess-behavior", "completed")
        self.must("airflow", "backfill", "create", "--dag-id", dag_id, *days)

    def patiently(self, ask: Callable[[], str]) -> str:
        """Ask again while Airflow's api-server is on its way back."""
        for attempt in Retrying(
            retry=retry_if_exception_type(AirflowError), stop=stop_after_delay(60), wait=wait_fixed(1), reraise=True
        ):
            with attempt:
                return ask()
        raise AssertionError("not reached: tenacity raises")

    def no_orphans(self) -> None:
        """Every process of this stack descends from the process manager, at most a few seconds after a kill."""
        wait_for("orphans to end", lambda: not self._orphans(), 30.0)

    def _orphans(self) -> list[psutil.Process]:
        manager = manager_pid(self.settings)
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                family = {process.pid, *(parent.pid for parent in process.parents())}
                if self.belongs(process) and manager not in family and os.getpid() not in family:
                    found.append(process)
        return found

    def nothing_left(self) -> None:
        """After `down` no process of this stack is in the process table."""
        stack.stop(self.settings)
        left = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if self.belongs(process) or str(self.settings.state_dir) in _words(process):
                    left.append((process.pid, process.name()))
        assert not left, left


def _words(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""
