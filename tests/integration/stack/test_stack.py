"""The servers as a user has them: started, killed, asked, stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.integration.stack.machine import (
    LOOPBACK,
    command,
    healthy,
    in_the_process_table,
    innocent,
    listening,
    processes,
    switch_off,
    wait,
)
from wardstream import stack
from wardstream.stack import class_archive, java, manager, parts, paths, report
from wardstream.stack.part import Launch

SERVERS = ["postgres", "kafka", "registry"]


def test_a_second_start_changes_nothing(settings):
    before = stack.pids(settings)
    stack.start(settings, stream=False)
    assert stack.pids(settings) == before and set(before) == set(SERVERS)


@pytest.mark.parametrize("part", SERVERS)
def test_a_killed_part_comes_back(settings, part):
    before = stack.pids(settings)[part]
    os.kill(before, signal.SIGKILL)
    assert wait(lambda: stack.pids(settings).get(part) not in (None, before) and part in healthy(settings), 40)


def test_status_is_for_programs_too(settings):
    answer = command(settings, "status", "--json")
    rows = {row["part"]: row for row in json.loads(answer.stdout)["parts"]}
    assert list(rows) == [*SERVERS, "stream"]
    assert all(rows[part]["healthy"] and rows[part]["pid"] == stack.pids(settings)[part] for part in SERVERS)
    assert rows["postgres"]["port"] == settings.postgres_port and rows["postgres"]["version"].startswith("18.")
    assert rows["stream"]["state"] == "stopped"
    assert answer.returncode == 1  # not all of it runs
    assert "postgres" in command(settings, "status").stdout


def test_servers_elsewhere_are_asked_whether_they_answer(settings):
    here = {"database_url": settings.writer_url, "owner_database_url": settings.owner_url}
    here |= {"kafka_bootstrap_servers": settings.kafka, "schema_registry_url": settings.registry}
    # the same servers, but to these settings not the embedded ones
    theirs = settings.model_copy(update={**here, "postgres_port": 1, "kafka_port": 2, "registry_port": 3})
    seen = {row.part: row for row in report.report(theirs).parts}
    assert [row.part for row in seen.values() if row.state == "elsewhere"] == ["database", "kafka", "registry"]
    assert seen["database"].healthy and seen["kafka"].healthy and seen["registry"].healthy
    assert seen["database"].address == f"127.0.0.1:{settings.postgres_port}"


def test_env_gives_connections_that_work(settings):
    script = '{ "$0" -m wardstream.stack.stack_commands env; echo \'printf %s "$DATABASE_URL"\'; } | sh'
    done = subprocess.run(
        ["sh", "-c", script, sys.executable],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **stack.environment(settings)},
    )
    with psycopg.connect(done.stdout) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("wardstream_writer",)


def test_nothing_listens_beyond_loopback(settings):
    found = listening(settings)
    assert {address for address, _ in found} <= LOOPBACK, found
    wanted = {port for part in SERVERS for port in parts.named(part).port_variables(settings).values()}
    assert wanted <= {port for _, port in found}


def test_passwords_are_ours_alone(settings):
    folder = settings.state_dir / "secrets"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(settings.writer_url.replace(settings.password("wardstream_writer"), "guess"))
    logs = "".join(file.read_text() for file in (settings.state_dir / "logs").iterdir())
    assert not [role for role in folder.iterdir() if role.read_text().strip() in logs]


def test_roles_can_do_what_they_must_and_no_more(settings):
    with psycopg.connect(settings.owner_url) as owner:
        supers = owner.execute("SELECT rolname FROM pg_roles WHERE rolsuper AND rolname LIKE 'wardstream%'").fetchall()
        assert supers == []
        for name in ("fsync", "full_page_writes", "synchronous_commit"):
            assert owner.execute(f"SHOW {name}").fetchone() == ("on",)
    with psycopg.connect(settings.bi_url, autocommit=True) as bi:
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            bi.execute("CREATE TEMPORARY TABLE t (n int)")
        bi.execute("SET default_transaction_read_only = off")  # a default only: what holds is that it has no rights
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            bi.execute("CREATE TEMPORARY TABLE t (n int)")
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(settings.writer_url, dbname="wardstream_registry")


def test_other_ports_need_a_restart(settings):
    moved = settings.model_copy(update={"registry_port": settings.registry_port + 1})
    with pytest.raises(stack.StackError, match="it runs with other settings"):
        stack.start(moved, stream=False)
    assert wait(lambda: healthy(settings) == set(SERVERS), 10)


def test_the_stream_is_started_again_unless_it_is_fenced(settings):
    def exits_with(code: int) -> Launch:
        return Launch([sys.executable, "-c", f"raise SystemExit({code})"], cwd=settings.state_dir)

    log: Path = settings.state_dir / "logs" / "manager.log"

    def starts() -> int:
        return log.read_text().count("spawned: 'stream'")

    manager.start(settings, "stream", exits_with(75))
    time.sleep(2.5)
    assert manager.states(settings)["stream"].name == "EXITED" and starts() == 1
    manager.start(settings, "stream", exits_with(0))
    assert wait(lambda: starts() >= 4, 15)
    manager.stop(settings, "stream")
    assert manager.states(settings)["stream"].name in ("STOPPED", "EXITED")


def test_a_part_can_be_stopped_and_started(settings):
    stack.stop_part(settings, "registry")
    assert "registry" not in stack.pids(settings)
    stack.start_part(settings, "registry")
    assert "registry" in healthy(settings)


def test_a_killed_process_manager_leaves_no_orphan_that_stays(settings):
    family = processes(settings)
    manager_pid = manager.manager_pid(settings)
    assert manager_pid is not None
    os.kill(manager_pid, signal.SIGKILL)
    if sys.platform == "linux":
        assert not psutil.wait_procs(family, timeout=20)[1]
    stack.start(settings, stream=False)
    assert healthy(settings) == set(SERVERS)


def test_up_after_a_reboot_starts_all_and_ends_nobody_else(settings):
    with innocent() as somebody:
        switch_off(settings, somebody.pid)
        stack.start(settings, stream=False)
        assert healthy(settings) == set(SERVERS)
        assert somebody.poll() is None


def test_spark_maps_its_classes_from_the_archive_that_up_has_made(settings, tmp_path):
    said, jars = tmp_path / "classes.txt", class_archive.JARS
    env = {**os.environ, **java.java_env(settings)}
    call = ["java", f"-Xlog:class+load:file={said}", "-cp", f"{tmp_path}:{jars}/*"]
    done = subprocess.run(
        [*call, "org.apache.spark.deploy.SparkSubmit", "--version"], env=env, capture_output=True, check=True
    )
    assert b"cds" not in done.stdout, "warnings of Java would be read as Spark's answer"
    [submit] = [line for line in said.read_text().splitlines() if " org.apache.spark.deploy.SparkSubmit " in line]
    assert submit.endswith("source: shared objects file (top)")


def test_down_leaves_nothing_but_the_data(settings):
    with psycopg.connect(settings.owner_url) as owner:
        before = owner.execute("SELECT system_identifier FROM pg_control_system()").fetchone()
    family = processes(settings)
    answer = command(settings, "down")
    assert answer.returncode == 0, answer.stderr
    assert not [process for process in family if process.is_running()]
    assert not manager.leftovers(settings) and not in_the_process_table(settings)
    assert not (settings.state_dir / "run").exists()
    assert not paths.socket_file(settings).exists()
    assert command(settings, "down").returncode == 0  # nothing to do
    stack.start(settings, stream=False)
    with psycopg.connect(settings.owner_url) as owner:
        assert owner.execute("SELECT system_identifier FROM pg_control_system()").fetchone() == before


def test_reset_deletes_the_folder_outside_too(settings):
    assert command(settings, "reset", "--yes").returncode == 0
    assert not settings.state_dir.exists() and not paths.outside_dir(settings).exists()
