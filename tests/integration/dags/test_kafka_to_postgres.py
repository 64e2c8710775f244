"""kafka_to_postgres_dag: each action with a driver that follows, and what is said where none does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from tests.integration.alerts.conftest import Webhook
from tests.integration.dags.conftest import Go, Run, execute
from tests.integration.stack.conftest import free_ports
from wardstream.contracts.model import load_contracts
from wardstream.database.connection import connect
from wardstream.kafka.broker import Broker
from wardstream.kafka.topics import create_topics
from wardstream.settings import Settings
from wardstream.stream import control
from wardstream.stream.lease import Lease
from wardstream.stream.start import open_ledger
from wardstream.stream.turn import look, wait_for_turn

DAG = "kafka_to_postgres_dag"
GREEN = dict.fromkeys(["request", "wait_until_reached", "verify"], "success")
BRIEF = {"wait_until_reached": {"timeout": 6}}


class Driver(threading.Thread):
    """The stream's process without Spark: waits for its turn, takes the lease, is caught up, and looks each moment."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(daemon=True)
        self.settings = settings
        self.end = threading.Event()
        self.generations: list[int] = []

    def run(self) -> None:
        while not self.end.is_set():
            turn = wait_for_turn(self.settings, "main", self.end)
            if turn is None:
                return
            lease = Lease(self.settings, "main")
            self.generations.append(lease.take(turn.restarts))
            lease.state, lease.lag = "running", {"labs": {"0": 0}}
            with connect(self.settings.writer_url, "test") as conn:
                while not self.end.is_set() and not look(conn, "main").ends(turn.restarts):
                    lease.caught_up_at = datetime.now(UTC)
                    lease.beat()
                    self.end.wait(0.2)
            lease.release()


@pytest.fixture
def driver(ready: Settings) -> Iterator[Driver]:
    create_topics(ready)
    with connect(ready.writer_url, "test") as conn:
        open_ledger(conn, Broker(ready, load_contracts(ready.schemas_dir)).extents())
    thread = Driver(ready)
    thread.start()
    yield thread
    thread.end.set()
    thread.join(timeout=20)


def _sessions(settings: Settings) -> int:
    return int(
        execute(settings, "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '%lease main'")[0][0]
    )


def test_every_action_is_followed_and_verified_by_evidence(runner: Go, ready: Settings, driver: Driver, hook: Webhook):
    def ask(action: str) -> Run:
        run = runner(DAG, ready, {"action": action}, tasks={"wait_until_reached": {"poke_interval": 0.5}})
        assert (run.state, run.tasks) == ("success", GREEN), run.log[-3000:]
        assert control.read_control(ready).requested_by == run.run_id
        return run

    run = ask("start")
    assert run.lines("asked the stream to be running") and run.lines("reached: generation 1 is running")
    assert driver.generations == [1] and _sessions(ready) == 1
    ask("start")  # it runs: nothing is begun anew
    assert driver.generations == [1]
    ask("restart")
    assert driver.generations == [1, 2]
    assert ask("drain").lines("reached: no driver runs")
    assert _sessions(ready) == 0
    ask("start")
    assert driver.generations == [1, 2, 3]
    assert ask("stop").lines("reached: no driver runs")
    assert _sessions(ready) == 0 and control.findings(ready) == []
    assert hook.got == []


def _later(settings: Settings, what: Callable[[], object]) -> threading.Thread:
    """Do something once the run has made its request."""
    before = control.read_control(settings).revision

    def act() -> None:
        deadline = time.monotonic() + 30
        while control.read_control(settings).revision == before and time.monotonic() < deadline:
            time.sleep(0.05)
        what()

    thread = threading.Thread(target=act)
    thread.start()
    return thread


AGED = (
    "UPDATE ops.stream_control SET requested_at = requested_at - interval '10 minutes'",
    "UPDATE ops.streams SET heartbeat_at = heartbeat_at - interval '10 minutes'",
)


@pytest.mark.campaign
def test_a_start_that_nobody_can_follow_fails_early_and_says_what_to_do(runner: Go, ready: Settings, hook: Webhook):
    helper = _later(ready, lambda: [execute(ready, statement) for statement in AGED])
    run = runner(DAG, ready)  # the parameter's default is start
    helper.join()
    assert run.state == "failed"
    assert run.tasks == GREEN | {"wait_until_reached": "failed", "verify": "upstream_failed"}
    last = run.lines("it cannot be reached. Seen: no driver has ever run")[-1]
    assert "What to do: `wardstream up`" in last and "the-stream-is-not-as-asked.md" in last
    [alert] = hook.got
    assert alert["key"] == f"dag:{DAG}" and run.run_id in alert["what"]


def test_a_state_that_is_not_reached_in_time_is_said_with_what_was_seen(runner: Go, ready: Settings):
    run = runner(DAG, ready, tasks=BRIEF)
    assert run.tasks["wait_until_reached"] == "failed"
    assert run.lines("not yet: no driver has ever run")
    assert run.lines("not reached in 6 s. Seen: no driver has ever run") and run.lines("What to do: wait; if it takes")
    assert not run.lines("Sensor has timed out")


def test_a_request_that_another_overruled_fails_and_changes_nothing(runner: Go, ready: Settings):
    helper = _later(ready, lambda: control.request(ready, "stop", by="somebody at a shell"))
    run = runner(DAG, ready)
    helper.join()
    assert run.state == "failed"
    assert run.lines("somebody at a shell has since asked for the stream to be stopped")
    assert control.read_control(ready).desired == "stopped"


def test_what_was_reached_and_is_no_more_is_not_green(runner: Go, ready: Settings):
    run = runner(DAG, ready, skip="wait_until_reached")
    assert run.tasks == GREEN | {"verify": "failed"}
    assert run.lines("it was reached and is no more. Seen: no driver has ever run")


def test_before_the_set_up_the_log_says_to_set_up(runner: Go, fresh: Settings):
    run = runner(DAG, fresh)
    assert run.tasks["request"] == "failed" and run.tries["request"] == 1
    assert run.lines("trigger platform_setup_dag, then this again")


# What is asked and said is in tests/integration/control.
@pytest.mark.campaign
def test_a_drain_needs_kafka_and_says_so(runner: Go, ready: Settings):
    [port] = free_ports(1)
    away = ready.model_copy(update={"kafka_bootstrap_servers": f"127.0.0.1:{port}"})
    run = runner(DAG, away, {"action": "drain"}, tasks={"request": {"retries": 0}})
    assert run.tasks["request"] == "failed"
    assert f"Kafka (127.0.0.1:{port}): _" in run.lines("What to do: docs/runbooks/a-dag-failed.md")[-1]
    assert control.read_control(ready).desired == "running"


def test_an_unknown_action_is_refused_before_anything_runs(runner: Go, ready: Settings):
    with pytest.raises(AssertionError, match="'explode' is not one of"):
        runner(DAG, ready, {"action": "explode"})
