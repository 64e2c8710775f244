"""`wardstream stream …` on the real stack: nothing is lost or half done by it, and at most one driver is there."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from tests.e2e.hospital import Hospital, wait_for
from tests.e2e.test_kills import held_at_the_end_of_a_commit, stream_pid
from wardstream import stack
from wardstream.database.connection import connect
from wardstream.proof.verify import verify
from wardstream.settings import PROJECT_ROOT, Settings
from wardstream.stack import manager
from wardstream.stack.env import base_environment, stream_environment
from wardstream.stream.control import evidence, findings, read_control, request
from wardstream.stream.driver import Driver
from wardstream.stream.turn import look

BATCH = 2000
# Asked as the writer: PostgreSQL hides from one role what another one's sessions are called.
COMMITTING = "SELECT client_port FROM pg_stat_activity WHERE application_name = 'wardstream commit main'"


@pytest.fixture(scope="module")
def ward(hospital: Hospital) -> Iterator[Hospital]:
    """The hospital with small batches, so that the sample is a backlog of several, and one query for all topics."""
    own = Hospital(hospital.settings.model_copy(update={"stream_max_offsets": BATCH, "stream_split": False}))
    own.empty()
    yield own
    own.must("stream", "start")
    stack.stop_part(own.settings, "stream")
    stack.start_part(hospital.settings, "stream")


def owners(ports: set[int]) -> set[int]:
    """The processes that have these ends of connections."""
    return {c.pid for c in psutil.net_connections("tcp") if c.laddr and c.laddr.port in ports and c.pid}


@pytest.fixture(scope="module", autouse=True)
def at_most_one_driver(ward: Hospital) -> Iterator[None]:
    """Looks all the time while the tests of this module run, from before the first one."""
    most, over = [0], threading.Event()

    def watch() -> None:
        conn = connect(ward.settings.writer_url, "wardstream test")
        while not over.wait(0.1):
            try:
                ports = {port for (port,) in conn.execute(COMMITTING)}
            except psycopg.OperationalError:  # a test may kill PostgreSQL
                with contextlib.suppress(psycopg.OperationalError):
                    conn = connect(ward.settings.writer_url, "wardstream test")
                continue
            most.append(len(ports) if len(ports) < 2 else len(owners(ports)))  # a driver has two sessions at most
        conn.close()

    thread = threading.Thread(target=watch)
    thread.start()
    yield
    over.set()
    thread.join()
    assert max(most) == 1


def status(hospital: Hospital) -> dict[str, Any]:
    rows: list[dict[str, Any]] = json.loads(hospital.cli("status", "--json").stdout)["parts"]
    return next(row for row in rows if row["part"] == "stream")


def generation(hospital: Hospital) -> int:
    return int(hospital.rows("SELECT generation FROM ops.streams")[0][0])


def test_drain_while_events_flow(ward: Hospital) -> None:
    replay = ward.begin("replay", "sample", "--pace", "40")  # three minutes: longer than the drain
    wait_for("a commit", lambda: ward.committed() > 0)
    said = ward.must("stream", "drain")
    assert "all that Kafka held at the request is committed" in said

    control = read_control(ward.settings)
    assert control.drain_to and control.desired == "drained"
    ledger = {(i, str(p)): o for i, p, o in ward.rows("SELECT topic_id, partition, next_offset FROM ops.ledger")}
    ends = {(i, p): end for i, partitions in control.drain_to.items() for p, end in partitions.items()}
    assert ends.keys() == ledger.keys() and all(ledger[at] >= end for at, end in ends.items())
    wait_for("events after the drain", lambda: ward.published() > ward.committed())
    replay.kill()
    replay.communicate()
    assert findings(ward.settings) == []

    ward.must("stream", "start")
    ward.verified()


@pytest.mark.campaign
def test_batches_that_fruitless_starts_made_small_become_full_again(ward: Hospital) -> None:
    with ward.connect() as conn:
        conn.execute("UPDATE ops.streams SET fruitless_starts = 1, last_commit_at = NULL")
    ward.must("stream", "restart")
    small = generation(ward)
    ward.must("replay", "sample")
    wait_for("the next driver", lambda: generation(ward) == small + 1)
    ward.verified()
    sizes: dict[int, list[int]] = {}
    commits = "SELECT generation, sum(received)::int FROM ops.ledger_ranges GROUP BY generation, commit_seq"
    for number, received in ward.rows(commits):
        sizes.setdefault(number, []).append(received)
    assert max(sizes[small]) <= BATCH // 10 and BATCH <= sum(sizes[small]) < 2 * BATCH
    assert max(sizes[small + 1]) > BATCH // 2


def test_a_waiting_stream_is_small_and_well(ward: Hospital) -> None:
    ward.must("stream", "stop")
    row = wait_for("a waiting process", lambda: (r := status(ward)) and r["healthy"] and r)
    assert row["state"] == "stopped" and ward.cli("status").returncode == 0
    waiting = psutil.Process(row["pid"])
    assert not waiting.children(recursive=True), "no JVM"
    assert waiting.memory_info().rss < 80 * 2**20
    assert "waits, stopped as cli-" in ward.must("up")
    assert stack.pids(ward.settings)["stream"] == waiting.pid

    stack.stop_part(ward.settings, "stream")  # SIGTERM
    assert read_control(ward.settings).waiting_pid is None
    stack.start_part(ward.settings, "stream")
    assert wait_for("its successor", lambda: status(ward))["state"] == "stopped"


def test_a_second_waiting_process_is_harmless_and_ends_at_once(ward: Hospital) -> None:
    env = {**base_environment(ward.settings, with_java=True), **stream_environment(ward.settings)}
    second = subprocess.Popen([sys.executable, "-m", "spark_jobs.stream"], cwd=PROJECT_ROOT, env=env)
    wait_for("it to wait", lambda: read_control(ward.settings).waiting_pid == second.pid)
    second.send_signal(signal.SIGTERM)
    assert second.wait(5) == 0


# That a running batch is finished is in test_kills, too.
@pytest.mark.campaign
def test_stop_in_the_middle_of_a_backlog(ward: Hospital) -> None:
    """The batch that runs when a stop is asked for is finished, and no other begins."""
    ward.must("stream", "stop")
    before = ward.committed()
    ward.must("replay", "sample")
    assert ward.published() >= before + 3 * BATCH
    begun = request(ward.settings, "start", "test-start")
    with held_at_the_end_of_a_commit(ward):
        committed = ward.committed()
        request(ward.settings, "stop", "test-stop")
        wait_for("the driver to stop", lambda: ward.rows("SELECT state FROM ops.streams") == [("stopping",)])
        assert ward.committed() == committed, "its batch is not finished"
    wait_for("the end of the driver", lambda: evidence(ward.settings, by="test-stop").reached)
    assert committed < ward.committed() <= committed + BATCH * 1.1 < ward.published()
    assert ward.rows("SELECT state, generation > %s FROM ops.streams", begun.generation_at_request) == [
        ("stopped", True)
    ]
    behind = verify(ward.settings, 3600).findings  # which does not wait for a stream that was asked not to run
    assert behind and all("the stream is stopped, as was asked; `wardstream stream start`" in each for each in behind)
    ward.must("stream", "start")
    ward.verified()


def test_restart_takes_a_new_generation_once(ward: Hospital) -> None:
    ward.must("stream", "start")
    before, pid = generation(ward), stream_pid(ward)
    ward.must("stream", "restart")
    assert (generation(ward), stream_pid(ward) == pid) == (before + 1, False)
    assert "running" in ward.must("stream", "start"), "asking for what is there changes nothing"
    assert generation(ward) == before + 1


def test_a_lost_postgresql_ends_nothing_and_requests_are_heard_after_it(ward: Hospital) -> None:
    before, pid = generation(ward), stream_pid(ward)
    os.kill(stack.pids(ward.settings)["postgres"], signal.SIGKILL)

    def heartbeat_after_the_restart() -> bool:
        try:
            return bool(ward.rows("SELECT 1 FROM ops.streams WHERE heartbeat_at > pg_postmaster_start_time()"))
        except psycopg.OperationalError:
            return False

    wait_for("a heartbeat in the restarted PostgreSQL", heartbeat_after_the_restart)
    assert findings(ward.settings) == []
    assert (generation(ward), stream_pid(ward)) == (before, pid)
    ward.must("stream", "restart")
    assert generation(ward) == before + 1


@pytest.mark.campaign
def test_a_drain_is_finished_by_the_next_process(ward: Hospital) -> None:
    before = generation(ward)
    ward.must("replay", "sample")
    with held_at_the_end_of_a_commit(ward):
        control = request(ward.settings, "drain", "test-drain")
        os.kill(stream_pid(ward), signal.SIGKILL)
    assert request(ward.settings, "drain", "test-drain") == read_control(ward.settings)
    wait_for("the drain", lambda: evidence(ward.settings, by="test-drain").reached)
    assert read_control(ward.settings).drain_to == control.drain_to
    assert generation(ward) > before
    with ward.connect() as conn:
        assert not look(conn, "main").wanted
    assert ward.committed() == ward.published()
    ward.must("stream", "start")
    ward.verified()


@pytest.fixture
def hurried(ward: Hospital, tmp_path: Path) -> Settings:
    """Settings under whose contracts two seconds are too long."""
    shutil.copytree(ward.settings.schemas_dir, tmp_path / "schemas")
    for contract in (tmp_path / "schemas").glob("*/contract.yaml"):
        text = contract.read_text()
        assert text.count("value: 300\n") == 1
        contract.write_text(text.replace("value: 300\n", "value: 2\n"))
    return ward.settings.model_copy(update={"schemas_dir": tmp_path / "schemas"})


# What is made of it, without Kafka, is in tests/integration/control.
@pytest.mark.campaign
def test_events_that_wait_too_long_are_known_from_kafka(ward: Hospital, hurried: Settings) -> None:
    with ward.connect() as conn:
        turn = look(conn, "main")
    driver = Driver(hurried, turn)  # it only measures; without the lease, it is no driver for anybody
    driver.lease._conn.close()
    driver.measure()
    assert (driver.lease.behind_since, driver.lease.caught_up_at is None) == ({}, False)
    driver.lease.caught_up_at = None
    ward.must("stream", "stop")
    ward.must("replay", "sample")
    time.sleep(2.5)
    driver.measure()
    assert set(driver.lease.behind_since) == set(driver.contracts)
    assert driver.lease.caught_up_at is None
    since = dict(driver.lease.behind_since)
    driver.measure()
    assert driver.lease.behind_since == since
    ward.must("stream", "start")
    ward.caught_up()
    driver.measure()
    assert driver.lease.behind_since == {} and driver.lease.caught_up_at is not None


# What is made of a crash loop is in tests/integration/control.
@pytest.mark.campaign
def test_a_stream_that_cannot_come_up_is_given_up_on(ward: Hospital) -> None:
    stack.stop_part(ward.settings, "stream")
    assert manager.states(ward.settings)["stream"].pid == 0
    done = ward.cli("stream", "start", "--timeout", "3")
    assert done.returncode == 1
    assert "not so after 3 s: no driver runs" in done.stderr and "docs/runbooks/" in done.stderr
    stack.start_part(ward.settings, "stream")
