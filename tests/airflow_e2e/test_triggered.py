"""Every DAG through Airflow's REST API on the real scheduler: green twice, and the second time nothing changes."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
import requests

from tests.airflow_e2e.clinic import DAGS, Clinic
from tests.e2e.hospital import wait_for
from wardstream.airflow.api import FINISHED
from wardstream.daily.stale import count_stale
from wardstream.stack.demo import DAYS, build_by_airflow
from wardstream.stack.memory import memory_by_part


def test_all_dags_are_there_and_none_is_broken(clinic: Clinic) -> None:
    assert clinic.api.import_errors() == []
    assert {dag["dag_id"] for dag in clinic.api.dags()} == set(DAGS)
    assert not any(dag["is_paused"] for dag in clinic.api.dags())


@contextlib.contextmanager
def most_memory(clinic: Clinic) -> Iterator[list[int]]:
    """Bytes that the whole stack took, as `wardstream status` counts them, twice a second while this lasts."""
    seen: list[int] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.5):
            seen.append(sum(memory_by_part(clinic.settings).values()))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def test_each_dag_twice(clinic: Clinic) -> None:
    with most_memory(clinic) as sizes:
        for dag_id in DAGS:
            clinic.green(dag_id)
    assert 2**30 < max(sizes) < 4.5 * 2**30, "with the batch job's JVM beside the stream's"
    print(f"most memory: {max(sizes) / 2**30:.2f} GiB\n{clinic.cli('status').stdout}")
    assert sum(count_stale(clinic.settings).values()) == 0
    assert clinic.rows("SELECT count(*) FROM mart.daily_labs") != [(0,)]
    before = (clinic.digest(), clinic.builds(), clinic.rows("SELECT * FROM ops.streams")[0][:2])
    for dag_id in DAGS:
        run_id = clinic.green(dag_id)
        if dag_id == "platform_setup_dag":
            assert "nothing to change" in clinic.api.task_log(dag_id, run_id, "summary")
    assert (clinic.digest(), clinic.builds(), clinic.rows("SELECT * FROM ops.streams")[0][:2]) == before


def test_a_paused_dag_is_told_and_shown_until_it_runs_again(clinic: Clinic) -> None:
    clinic.must("airflow", "dags", "pause", "platform_setup_dag", "--yes")
    try:
        run_id, state = clinic.run("stream_reconcile_dag")
        assert state == "failed"
        log = clinic.api.task_log("stream_reconcile_dag", run_id, "stream_as_desired")
        assert "(dag_paused:platform_setup_dag: docs/runbooks/a-dag-is-paused.md)" in log
        assert "wardstream airflow dags unpause platform_setup_dag" in clinic.must("status")
    finally:
        clinic.must("airflow", "dags", "unpause", "platform_setup_dag", "--yes")
    clinic.green("stream_reconcile_dag")
    ours = [told for told in clinic.webhook.got if told["key"] == "dag_paused:platform_setup_dag"]
    assert [told["state"] for told in ours] == ["open", "resolved"]
    assert not [told for told in clinic.webhook.got if told["key"] == "dag:stream_reconcile_dag"]


def test_the_demo_does_not_wait_behind_a_run_that_builds_days(clinic: Clinic) -> None:
    def ours() -> set[str]:
        return {run["dag_run_id"] for run in clinic.api.runs(DAYS) if run["run_type"] == "manual"}

    def make_stale() -> None:
        with clinic.connect() as conn:
            conn.execute(
                "DELETE FROM ops.day_builds WHERE mart_table = 'daily_labs'"
                " AND day > (SELECT max(day) - 3 FROM ops.day_builds WHERE mart_table = 'daily_labs')"
            )

    said: list[str] = []
    make_stale()
    running, before = clinic.api.trigger(DAYS), ours()  # in place of one of the schedule
    build_by_airflow(clinic.settings, clinic.api, said.append)
    assert ours() == before and clinic.api.run(DAYS, running)["state"] == "success"
    assert "runs already" in said[0] and "no day is stale" in said[-1]
    build_by_airflow(clinic.settings, clinic.api, said.append)
    assert ours() == before, f"nothing is stale, and the latest run is green: {said}"

    make_stale()
    build_by_airflow(clinic.settings, clinic.api, said.append)
    assert len(ours()) == len(before) + 1
    assert sum(count_stale(clinic.settings).values()) == 0


def test_assets_show_topic_core_and_mart_and_start_nothing(clinic: Clinic) -> None:
    found = {asset["name"]: asset for asset in clinic.api.assets()}

    def tasks(name: str, side: str) -> set[tuple[str, str]]:
        return {(task["dag_id"], task["task_id"]) for task in found[name][side]}

    stream, build = ("kafka_to_postgres_dag", "verify"), ("spark_processing_dag", "build")
    assert {asset["group"] for asset in found.values()} == {"kafka", "core", "mart"}
    assert stream in tasks("kafka.labs", "consuming_tasks")
    assert tasks("core.lab_results", "producing_tasks") == {stream}
    assert tasks("core.lab_results", "consuming_tasks") == {build}
    assert tasks("mart.daily_labs", "producing_tasks") == {build}
    assert not any(asset["scheduled_dags"] for asset in found.values())


def test_dag_docs_link_to_runbooks_that_open(clinic: Clinic) -> None:
    opened = set()
    for dag_id in DAGS:
        details = clinic.api.dag(dag_id)
        assert details["description"] and clinic.settings.facility_timezone in details["doc_md"]
        for link in re.findall(r"\]\((/[^)]+)\)", details["doc_md"]):
            answer = requests.get(clinic.api.base + link, timeout=30)
            assert answer.ok and "<h2" in answer.text and "text/html" in answer.headers["content-type"], link
            opened.add(link)
    assert len(opened) > 3
    outside = clinic.api.base + "/wardstream/docs/%2e%2e/pyproject.toml"
    assert requests.get(outside, timeout=30).status_code == 404


# Each branch is in tests/integration/dags, too.
@pytest.mark.campaign
def test_drain_then_start(clinic: Clinic) -> None:
    clinic.green("kafka_to_postgres_dag", action="drain")
    assert not clinic.drivers()
    clinic.must("replay", "sample")
    assert clinic.published() > clinic.committed()
    clinic.green("kafka_to_postgres_dag", action="start")
    clinic.caught_up()
    clinic.verified()
    assert len(clinic.drivers()) == 1


@pytest.mark.campaign
def test_restart_takes_a_new_generation(clinic: Clinic) -> None:
    before = clinic.rows("SELECT generation FROM ops.streams")[0][0]
    clinic.green("kafka_to_postgres_dag", action="restart")
    assert clinic.rows("SELECT generation FROM ops.streams")[0][0] == before + 1
    assert len(clinic.drivers()) == 1


# Its branch of the DAG is in tests/integration/dags, too; here it takes a minute and a half.
@pytest.mark.campaign
def test_a_backfill_builds_a_day_once(clinic: Clinic) -> None:
    """By Airflow's own command, over the midnight of one day of the facility: one run builds it, the others skip."""
    clinic.green("spark_processing_dag")
    day = clinic.rows("SELECT min(day) FROM ops.day_builds WHERE mart_table = 'daily_labs'")[0][0]
    midnight = datetime.combine(day, time.min, clinic.settings.zone).astimezone(UTC)
    before = {row[:2]: row for row in clinic.builds()}
    first, last = midnight - timedelta(minutes=15), midnight + timedelta(minutes=15)
    clinic.backfill("spark_processing_dag", first.isoformat(), last.isoformat())

    def ended() -> list[dict[str, Any]] | None:
        runs = [run for run in clinic.api.runs("spark_processing_dag") if run["run_type"] == "backfill"]
        return runs if len(runs) >= 3 and all(run["state"] in FINISHED for run in runs) else None

    runs = wait_for("the backfill to end", ended)
    assert {run["state"] for run in runs} == {"success"}
    built = [
        task["state"]
        for run in runs
        for task in clinic.api.tasks("spark_processing_dag", run["dag_run_id"])
        if task["task_id"] == "build"
    ]
    assert built.count("success") == 1, built
    again = [row for row in clinic.builds() if before.get(row[:2]) != row]
    assert {row[1] for row in again} == {day}
