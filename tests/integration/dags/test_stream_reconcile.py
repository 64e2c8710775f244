"""stream_reconcile_dag: green while all is as asked, red with every finding, told once, and never starting anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.hospital import Hospital
from tests.e2e.test_broker_faults import call
from tests.integration.alerts.conftest import Webhook
from tests.integration.dags.conftest import Go, changed, execute
from wardstream.registry.client import register_all
from wardstream.settings import Settings
from wardstream.stream import control
from wardstream.stream.lease import Lease


@pytest.fixture(scope="module", autouse=True)
def schemas(place: Settings) -> None:
    """The registry has our schemas, as `platform_setup_dag` leaves it: else each that lacks is a finding."""
    register_all(place)


DAG = "stream_reconcile_dag"
GREEN = {"stream_as_desired": "success", "quarantine_rate": "success"}
KEY = "behind:labs"
# A driver's silence counts from the server's start at the earliest.
SERVER_IS_OLD = "SELECT pg_sleep(greatest(0, 61 - extract(EPOCH FROM now() - pg_postmaster_start_time())))"


@pytest.fixture
def lease(ready: Settings) -> Iterator[Lease]:
    """A driver that is alive, caught up, and does nothing."""
    execute(ready, "UPDATE ops.stream_control SET requested_at = now() - interval '1 hour'")
    held = Lease(ready, "main")
    held.take()
    held.state, held.lag = "running", {"labs": {"0": 0}}
    held.beat()
    yield held
    held.release()


def _is_open(settings: Settings) -> list[Any]:
    return [key for (key,) in execute(settings, "SELECT key FROM ops.alerts WHERE closed_at IS NULL ORDER BY key")]


def test_a_stream_as_asked_is_green_also_when_it_stands_still_on_purpose(runner: Go, ready: Settings, lease: Lease):
    run = runner(DAG, ready)
    assert (run.state, run.tasks) == ("success", GREEN)
    assert run.lines("the stream is as it was asked to be")
    control.request(ready, "stop", by="somebody")
    lease.release()
    assert runner(DAG, ready).state == "success"


def test_what_is_found_is_told_once_closed_by_the_next_green_run_and_told_again(
    runner: Go, ready: Settings, lease: Lease, hook: Webhook
):
    lease.lag, lease.behind_since = {"labs": {"0": 1234}}, {"labs": "2026-03-02T08:15:00+00:00"}
    lease.beat()
    run = runner(DAG, ready)
    assert (run.state, run.tasks) == ("failed", GREEN | {"stream_as_desired": "failed"})
    assert run.tries["stream_as_desired"] == 1
    assert run.lines("topic labs: 1234 events wait") and run.lines("docs/runbooks/the-stream-is-behind.md")
    lease.beat()
    assert runner(DAG, ready).state == "failed"
    [alert] = hook.got  # one for both runs, with what was found, since when it is so, and what to do about it
    assert alert["key"] == KEY and alert["runbook"] == "the-stream-is-behind.md"
    assert "behind:labs" in alert["what"] and run.run_id in alert["what"]
    assert alert["since"] == "2026-03-02T08:15:00+00:00" and "wardstream logs stream" in alert["remedy"]
    assert _is_open(ready) == [KEY]

    lease.lag, lease.behind_since = {"labs": {"0": 0}}, {}
    lease.beat()
    assert runner(DAG, ready).state == "success"
    assert _is_open(ready) == []
    execute(ready, SERVER_IS_OLD)
    execute(ready, "UPDATE ops.streams SET heartbeat_at = now() - interval '5 minutes'")
    assert runner(DAG, ready).state == "failed"
    assert len(hook.got) == 3 and "driver_silent" in hook.got[2]["what"]
    assert [(alert["key"], alert["state"]) for alert in hook.got] == [
        (KEY, "open"),
        (KEY, "resolved"),
        ("driver_silent", "open"),
    ]


def test_a_worse_finding_is_told_while_another_is_open_and_does_not_end_it(
    runner: Go, ready: Settings, lease: Lease, hook: Webhook
):
    lease.lag, lease.behind_since = {"labs": {"0": 1234}}, {"labs": "2026-03-02T08:15:00+00:00"}
    lease.beat()
    assert runner(DAG, ready).state == "failed"
    execute(
        ready,
        "UPDATE ops.streams SET recent_starts = ARRAY[now(), now(), now(), now()], fruitless_starts = 4, lag = '{}'",
    )
    assert runner(DAG, ready).state == "failed"
    assert [(alert["key"], alert["state"]) for alert in hook.got] == [(KEY, "open"), ("crash_loop", "open")]
    execute(ready, "UPDATE ops.streams SET recent_starts = '{}', fruitless_starts = 0, behind_since = '{}'")
    assert runner(DAG, ready).state == "success"
    assert {(alert["key"], alert["state"]) for alert in hook.got[2:]} == {
        (KEY, "resolved"),
        ("crash_loop", "resolved"),
    }
    assert _is_open(ready) == []


def test_a_dag_that_fails_for_another_reason_is_told_as_a_dag(
    runner: Go, ready: Settings, lease: Lease, hook: Webhook, tmp_path: Path
):
    broken = changed(ready, tmp_path / "schemas")
    (tmp_path / "schemas" / "labs" / "contract.yaml").write_text("schema: []")
    assert runner(DAG, broken).state == "failed"
    assert [alert["key"] for alert in hook.got] == [f"dag:{DAG}"]


def test_days_that_stay_stale_are_told_with_the_time_since_when(
    runner: Go, ready: Settings, lease: Lease, hook: Webhook
):
    execute(ready, "INSERT INTO ops.day_versions VALUES ('lab_results', '2026-03-01', 1, 'main')")
    run = runner(DAG, ready)
    assert run.state == "success" and not hook.got  # it was stale at one look
    execute(ready, "UPDATE ops.stale_days SET seen_at = now() - interval '2 hours'")
    run = runner(DAG, ready)
    assert run.state == "failed" and run.lines("(stale_days: docs/runbooks/days-stay-stale.md)")
    assert hook.got[0]["key"] == "stale_days" and "2026-03-01" in hook.got[0]["what"]
    execute(ready, "DELETE FROM ops.day_versions")
    assert runner(DAG, ready).state == "success"
    assert [alert["state"] for alert in hook.got] == ["open", "resolved"]


FOUND = [
    ("no_process", [], False, "UPDATE ops.streams SET heartbeat_at = now() - interval '5 minutes'"),
    ("driver_silent", [], True, "UPDATE ops.streams SET heartbeat_at = now() - interval '5 minutes'"),
    (
        "crash_loop",
        [],
        True,
        "UPDATE ops.streams SET recent_starts = ARRAY[now(), now(), now(), now()], fruitless_starts = 4, lag = '{}'",
    ),
    (
        "does_not_start",
        [],
        True,
        "UPDATE ops.streams SET state = 'starting', started_at = now() - interval '10 minutes'",
    ),
    ("not_restarted", [], True, "UPDATE ops.stream_control SET restarts = 7"),
    ("still_runs", ["stop"], True, "UPDATE ops.stream_control SET requested_at = now() - interval '1 hour'"),
]


@pytest.mark.parametrize(("code", "ask", "alive", "make_it"), FOUND, ids=[found[0] for found in FOUND])
def test_each_finding_is_said_and_nothing_is_started(
    runner: Go, ready: Settings, lease: Lease, hook: Webhook, code: str, ask: list[Any], alive: bool, make_it: str
):
    for action in ask:
        control.request(ready, action, by="somebody")
    if not alive:
        lease.release()
    execute(ready, make_it)
    before = execute(ready, "SELECT desired, revision, restarts FROM ops.stream_control")
    run = runner(DAG, ready)
    assert run.tasks["stream_as_desired"] == "failed"
    assert run.lines(f"({code}: docs/runbooks/the-stream-is-not-as-asked.md)")
    assert execute(ready, "SELECT desired, revision, restarts FROM ops.stream_control") == before
    assert execute(ready, "SELECT generation FROM ops.streams") == [(1,)]
    assert len(hook.got) == 1


def test_too_much_in_quarantine_is_told_and_stays_green(runner: Go, ready: Settings, lease: Lease, hook: Webhook):
    execute(ready, "INSERT INTO ops.ledger VALUES ('T', 0, 'labs', 100)")
    execute(ready, "INSERT INTO ops.ledger_ranges VALUES ('T', 0, 0, 100, 100, 90, 0, 10, 1, 1, now())")
    run = runner(DAG, ready)
    assert (run.state, run.tasks) == ("success", GREEN)
    assert run.lines("topic labs: 10 of 100 messages (10.0%) in quarantine in the last hour; more than 1.0%")
    [alert] = hook.got
    assert (alert["key"], alert["runbook"]) == ("quarantine:labs", "a-message-is-in-quarantine.md")
    assert runner(DAG, ready).state == "success" and len(hook.got) == 1


def test_a_silent_sender_is_told_and_stays_green(runner: Go, ready: Settings, lease: Lease, hook: Webhook):
    execute(
        ready,
        "INSERT INTO ops.senders (topic, source, messages, first_at, last_at, longest_pause)"
        " VALUES ('labs', 'lab-a', 99, now() - interval '5 days', now() - interval '9 hours', '1 hour')",
    )
    run = runner(DAG, ready)
    assert (run.state, run.tasks) == ("success", GREEN)
    [alert] = hook.got
    assert (alert["key"], alert["runbook"]) == ("silent:labs/lab-a", "a-sender-is-silent.md")


def test_a_deleted_subject_is_one_finding_until_it_is_registered_again(
    runner: Go, ready: Settings, lease: Lease, hook: Webhook
):
    call(Hospital(ready), "DELETE", "/subjects/labs-value")
    try:
        run = runner(DAG, ready)
        assert run.state == "failed" and run.lines("(registry:labs-value: docs/runbooks/the-registry-was-changed.md)")
    finally:
        register_all(ready)
    assert runner(DAG, ready).state == "success"
    assert [(alert["key"], alert["state"]) for alert in hook.got] == [
        ("registry:labs-value", "open"),
        ("registry:labs-value", "resolved"),
    ]


def test_what_one_look_cannot_ask_keeps_no_other_from_telling(
    runner: Go, ready: Settings, lease: Lease, hook: Webhook, tmp_path: Path
):
    execute(ready, "INSERT INTO ops.day_versions VALUES ('lab_results', '2026-03-01', 1, 'main')")
    assert runner(DAG, ready).state == "success"
    execute(ready, "UPDATE ops.stale_days SET seen_at = now() - interval '2 hours'")
    broken = changed(ready, tmp_path / "schemas")
    (tmp_path / "schemas" / "labs" / "contract.yaml").write_text("schema: []")
    assert runner(DAG, broken).state == "failed"
    assert "stale_days" in {alert["key"] for alert in hook.got}


def test_an_alert_that_no_channel_took_is_sent_by_a_later_run(runner: Go, ready: Settings, lease: Lease, hook: Webhook):
    execute(ready, "INSERT INTO ops.ledger VALUES ('T', 0, 'labs', 100)")
    execute(ready, "INSERT INTO ops.ledger_ranges VALUES ('T', 0, 0, 100, 100, 90, 0, 10, 1, 1, now())")
    hook.status = 503
    run = runner(DAG, ready)
    assert run.state == "success" and run.lines("the webhook did not take it (HTTPError 503)")
    hook.status = 200
    runner(DAG, ready)
    assert [alert["key"] for alert in hook.got] == ["quarantine:labs"]


def test_trouble_with_a_channel_does_not_hide_what_was_found(runner: Go, ready: Settings, hook: Webhook):
    execute(ready, "UPDATE ops.stream_control SET requested_at = now() - interval '1 hour'")
    hook.status = 500
    run = runner(DAG, ready)
    assert run.tasks["stream_as_desired"] == "failed"
    assert run.lines("did not take it (HTTPError 500)") and run.lines("(no_process: docs/runbooks/")
