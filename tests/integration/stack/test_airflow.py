"""Airflow as a user has it: logged in to, asked to run something, watched, killed in the middle of a task, stopped."""

import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.integration.stack.conftest import own_settings
from tests.integration.stack.machine import (
    LOOPBACK,
    command,
    healthy,
    in_the_process_table,
    listening,
    processes,
    texts_of_database,
    wait,
)
from wardstream import stack
from wardstream.airflow import api as airflow_api
from wardstream.airflow.api import AirflowApi, AirflowError
from wardstream.settings import Settings
from wardstream.stack import manager, paths, report
from wardstream.stack.parts import airflow

SERVERS = {"postgres", "kafka", "registry", *airflow.NAMES}
ALMOST_FOREVER = "86399"
DAGS = '''"""Made by a test."""
import subprocess

import pendulum
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import BaseHook, dag, task

START = pendulum.datetime(2026, 1, 1, tz="UTC")


@dag(schedule=None, start_date=START)
def short():
    @task
    def look():
        database, spark = BaseHook.get_connection("wardstream_db"), BaseHook.get_connection("spark_default")
        print("the password is", database.password)
        print("the database is", database.login, "at", database.port, "and Spark at", spark.host)
        print("java:", subprocess.run(["java", "-version"], capture_output=True, text=True, check=True).stderr)
        print("spark-submit:", subprocess.run(["which", "spark-submit"], capture_output=True, text=True).stdout)
        from wardstream.settings import get_settings
        print("port of Kafka:", get_settings().kafka_port)

    look()


@dag(schedule=None, start_date=START)
def long():
    @task(retries=0)
    def child():
        print("child begins", flush=True)
        subprocess.run(["sleep", "FOREVER"], check=True)

    child()
    BashOperator(task_id="shell", bash_command="echo shell begins; sleep FOREVER; echo over")


@dag(schedule=None, start_date=START)
def broken():
    @task(retries=0)
    def fails():
        raise ValueError("there is no such ward")

    fails()


short()
long()
broken()
'''.replace("FOREVER", ALMOST_FOREVER)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A running stack with Airflow and two DAG files, one of which cannot be read."""
    folder = tmp_path_factory.mktemp("airflow")
    dags = folder / "dags"
    dags.mkdir()
    (dags / "made_up.py").write_text(DAGS)
    (dags / "unreadable.py").write_text('"""airflow dag"""\nimport no_such_module_at_all\n')
    chosen = own_settings(folder, airflow=True, dags_dir=dags)
    try:
        stack.start(chosen, stream=False)
        yield chosen
    finally:
        stack.stop(chosen)
        paths.remove(chosen)


@pytest.fixture(scope="module")
def api(settings: Settings) -> AirflowApi:
    """Logged in, and the DAGs are there."""
    client = AirflowApi(settings)
    assert wait(lambda: {"short", "long", "broken"} <= {dag["dag_id"] for dag in client.dags()}, 60)
    return client


def _state(api: AirflowApi, run_id: str, task: str, dag: str = "long") -> str | None:
    return next((one["state"] for one in api.tasks(dag, run_id) if one["task_id"] == task), None)


def _sleepers() -> list[psutil.Process]:
    return [one for one in psutil.process_iter(["cmdline"]) if one.info["cmdline"] == ["sleep", ALMOST_FOREVER]]


def _family(settings: Settings, part: str) -> list[psutil.Process]:
    process = psutil.Process(stack.pids(settings)[part])
    return [process, *process.children(recursive=True)]


def _command_line(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):  # it may be over, or about to be collected
        return " ".join(process.cmdline())
    return ""


def _command_lines(settings: Settings) -> str:
    return "\n".join(map(_command_line, processes(settings)))


def _in_the_middle(api: AirflowApi) -> str:
    """Start the long run, and return when both of its tasks have begun to sleep."""
    before = len(_sleepers())
    run_id = api.trigger("long")
    assert wait(lambda: len(_sleepers()) == before + 2, 120), api.tasks("long", run_id)
    return run_id


def _finish(api: AirflowApi, run_id: str) -> None:
    """Let the run fail, and wait until nothing of it sleeps."""
    deadline = time.monotonic() + 60
    while api.run("long", run_id)["state"] not in ("success", "failed"):
        for sleeper in _sleepers():
            sleeper.kill()
        assert time.monotonic() < deadline, api.tasks("long", run_id)
        time.sleep(0.5)
    assert not _sleepers()


def test_the_three_parts_are_shown(settings):
    rows = {row.part: row for row in report.report(settings).parts}
    assert {part for part, row in rows.items() if row.healthy} == SERVERS
    assert {rows[part].version for part in airflow.NAMES} == {airflow.version()}
    assert [rows[part].port for part in airflow.NAMES] == [settings.airflow_port, None, None]


def test_a_second_start_changes_nothing(settings):
    before = stack.pids(settings)
    stack.start(settings, stream=False)
    assert stack.pids(settings) == before and set(before) == SERVERS


def test_the_login_is_the_one_that_env_prints_and_no_other(settings):
    lines = command(settings, "env").stdout
    shown = dict(re.findall(r"export WARDSTREAM_AIRFLOW_(URL|USER|PASSWORD)='([^']+)'", lines))
    assert shown["URL"] == f"http://127.0.0.1:{settings.airflow_port}" and shown["USER"] == "admin"
    assert AirflowApi(settings, shown["PASSWORD"]).token()
    with pytest.raises(AirflowError, match="wardstream env"):
        AirflowApi(settings, "guess").token()


def test_a_run_is_green_and_its_task_has_settings_connections_and_java(settings, api):
    run_id = api.trigger("short", run_id="by-a-test+1")
    assert api.wait("short", run_id, 120) == "success"
    log = api.task_log("short", run_id, "look")
    assert f"the database is wardstream_writer at {settings.postgres_port} and Spark at local[2]" in log
    assert "the password is ***" in log and settings.password("wardstream_writer") not in log
    assert f"port of Kafka: {settings.kafka_port}" in log
    assert "openjdk" in log and str(Path(sys.executable).with_name("spark-submit")) in log
    assert api.runs("short")[0]["dag_run_id"] == run_id


def test_a_failing_task_says_why_in_its_log(api):
    run_id = api.trigger("broken")
    assert api.wait("broken", run_id, 120) == "failed"
    assert "ValueError: there is no such ward" in api.task_log("broken", run_id, "fails")


def test_an_unreadable_file_is_reported_and_the_others_work(api):
    assert wait(lambda: bool(api.import_errors()), 30)
    (error,) = api.import_errors()
    assert error["filename"].endswith("unreadable.py") and "no_such_module_at_all" in error["stack_trace"]


def test_errors_say_what_where_and_what_to_do(settings, api):
    with pytest.raises(AirflowError, match=r"POST http://127\.0\.0\.1:\d+/api/v2/dags/nobody/dagRuns: 404 .*nobody"):
        api.trigger("nobody")
    nowhere = settings.model_copy(update={"airflow_port": settings.kafka_controller_port})
    with pytest.raises(AirflowError, match="wardstream up"):
        AirflowApi(nowhere).token()


def test_a_log_can_be_read_while_the_task_runs(api, monkeypatch):
    monkeypatch.setattr(airflow_api, "WORD_SECONDS", 0.1)
    said: list[str] = []
    run_id = _in_the_middle(api)
    try:
        assert wait(lambda: "child begins" in api.task_log("long", run_id, "child"), 10)
        assert wait(lambda: "shell begins" in api.task_log("long", run_id, "shell"), 10)
        assert _state(api, run_id, "child") == "running"
        with pytest.raises(AirflowError, match="is still running after 1 s"):
            api.wait("long", run_id, 1, said.append)
        assert "long is running, 1 s now" in said
    finally:
        _finish(api, run_id)


def test_nothing_listens_beyond_loopback(settings, api):
    run_id = _in_the_middle(api)
    try:
        found = listening(settings)
        assert {address for address, _ in found} <= LOOPBACK, found
        ports = {port for _, port in found}
        assert settings.airflow_port in ports
        assert not ports & {8080, 8793, 8794, 8974}
    finally:
        _finish(api, run_id)


def test_no_secret_is_in_the_metadata_a_command_line_or_a_log(settings, api):
    folder = settings.state_dir / "secrets"
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
    secrets = [file.read_text().strip() for file in folder.iterdir()]
    text = "\n".join(texts_of_database(settings, "wardstream_airflow"))
    assert "by-a-test+1" in text  # it does see the rows
    assert not [secret for secret in secrets if secret in text]
    lines = _command_lines(settings)
    assert "airflow" in lines
    assert not [secret for secret in secrets if secret in lines]
    logs = [*(settings.state_dir / "logs").iterdir(), *(settings.state_dir / "airflow" / "logs").rglob("*.log")]
    assert any("task_id=look" in str(log) for log in logs)
    assert not [(log, secret) for log in logs for secret in secrets if secret in log.read_text(errors="replace")]


def test_no_secret_lies_where_others_can_read(settings):
    secrets = [file.read_bytes().strip() for file in (settings.state_dir / "secrets").iterdir()]
    found = set()
    for place in (settings.state_dir, paths.outside_dir(settings)):
        for file in place.rglob("*"):
            if file.is_file() and "data" not in file.parts and any(secret in file.read_bytes() for secret in secrets):
                found.add(file.relative_to(place).parts[0])
                assert file.stat().st_mode & 0o077 == file.parent.stat().st_mode & 0o077 == 0, file
    assert found == {"secrets", "run"}


def test_only_airflow_reaches_its_database(settings):
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(settings.writer_url, dbname="wardstream_airflow")
    stranger = settings.writer_url.replace(settings.password("wardstream_writer"), settings.password(airflow.ROLE))
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(stranger.replace("wardstream_writer", airflow.ROLE))


@pytest.mark.campaign
def test_a_killed_dag_processor_and_api_server_come_back_and_no_task_notices(settings, api):
    run_id = _in_the_middle(api)
    before, sleepers = stack.pids(settings), _sleepers()
    killed = ("dag-processor", "api-server")
    for part in killed:
        os.kill(before[part], signal.SIGKILL)

    def back() -> bool:
        after = stack.pids(settings)
        return all(after.get(part) not in (None, before[part]) for part in killed) and healthy(settings) == SERVERS

    assert wait(back, 90)
    time.sleep(6)  # longer than it takes a task to say that it lives
    assert [one["try_number"] for one in api.tasks("long", run_id)] == [1, 1] and _sleepers() == sleepers
    _finish(api, run_id)


# In the ordinary suite tests/airflow_e2e/test_kills.py does this on the whole stack.
@pytest.mark.campaign
@pytest.mark.parametrize("also", ["nobody", "workers"])
def test_a_killed_scheduler_leaves_no_task_and_repeats_it(settings, api, also):
    run_id = _in_the_middle(api)
    family, sleepers = _family(settings, "scheduler"), _sleepers()
    victims = [one for one in family if also == "workers" and "LocalExecutor" in _command_line(one)]
    for victim in [family[0], *victims]:
        victim.kill()
    assert not psutil.wait_procs([*family, *sleepers], timeout=15)[1]
    # both tasks again, each once
    assert wait(lambda: [one["try_number"] for one in api.tasks("long", run_id)] == [2, 2], 150)
    assert wait(lambda: len(_sleepers()) == 2, 60)
    assert {_state(api, run_id, "child"), _state(api, run_id, "shell")} == {"running"}
    _finish(api, run_id)


def test_a_change_of_settings_restarts_airflow_alone(settings, api):
    before = stack.pids(settings)
    changed = settings.model_copy(update={"daily_schedule": "*/5 * * * *"})
    stack.start(changed, stream=False)
    after = stack.pids(settings)
    assert {part for part in before if before[part] != after[part]} == set(airflow.NAMES)


@pytest.mark.campaign
@pytest.mark.parametrize("killed", ["nothing", "manager and scheduler"])
def test_down_in_the_middle_of_a_task_leaves_nothing(settings, api, killed):
    run_id = _in_the_middle(api)
    family, manager_pid, scheduler = processes(settings), manager.manager_pid(settings), _family(settings, "scheduler")
    assert manager_pid is not None and {one.pid for one in scheduler} < {one.pid for one in family}
    if "manager" in killed:
        os.kill(manager_pid, signal.SIGKILL)
    if "scheduler" in killed:
        scheduler[0].kill()
    answer = command(settings, "down")
    assert answer.returncode == 0, answer.stderr
    assert not [one for one in family if one.is_running()] and not _sleepers()
    assert not manager.leftovers(settings) and not in_the_process_table(settings)
    stack.start(settings, stream=False)
    assert wait(lambda: healthy(settings) == SERVERS, 10)
    # the run goes on where it was
    assert wait(lambda: len(_sleepers()) == 2, 150), api.tasks("long", run_id)
    _finish(api, run_id)


# Without Airflow in test_stack, with it but `down` in airflow_e2e/test_what_others_see.
@pytest.mark.campaign
def test_up_after_a_killed_manager_ends_what_it_left(settings, api):
    run_id = _in_the_middle(api)
    family, manager_pid = [*processes(settings), *_sleepers()], manager.manager_pid(settings)
    assert manager_pid is not None
    os.kill(manager_pid, signal.SIGKILL)
    stack.start(settings, stream=False)
    assert not [one for one in family if one.is_running()]
    assert wait(lambda: len(_sleepers()) == 2, 150), api.tasks("long", run_id)
    _finish(api, run_id)


# All of tests/e2e runs without it.
@pytest.mark.campaign
def test_without_airflow_none_of_it_runs(settings):
    assert command(settings, "down").returncode == 0
    without = settings.model_copy(update={"airflow": False})
    stack.start(without, stream=False)
    assert set(stack.pids(without)) == {"postgres", "kafka", "registry"}
    assert "AIRFLOW_URL" not in command(without, "env").stdout
