"""Requests, evidence and findings on a real PostgreSQL, with real leases and sessions in the place of a driver."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import psycopg
import pytest
from confluent_kafka import KafkaException

from tests.integration.conftest import another_database
from wardstream.database.connection import connect
from wardstream.database.migrate import migrate, rollback
from wardstream.proof.rebuild import restart_driver
from wardstream.settings import Settings
from wardstream.stack.errors import StackError
from wardstream.stream import control
from wardstream.stream.control import RequestConflict, evidence, findings, read_control, request, situation
from wardstream.stream.held import HeldTopic
from wardstream.stream.lease import Lease
from wardstream.stream.turn import ControlMissing, look, wait_for_turn
from wardstream.watch.status import stream_purpose

A_RANGE = """
INSERT INTO ops.ledger_ranges (topic_id, partition, start_offset, end_offset, received, stored, duplicate, quarantined,
    generation, commit_seq, committed_at)
VALUES (%s, 0, %s, %s, 1, 1, 0, 0, %s, nextval('ops.commit_seq'), clock_timestamp() - make_interval(secs => %s))
"""


@dataclass
class Ward:
    """A database of its own, and what a test does to it."""

    settings: Settings
    owner: psycopg.Connection[tuple[Any, ...]]

    def sql(self, statement: str, *parameters: Any) -> None:
        self.owner.execute(statement, parameters or None)

    def one(self, query: str) -> Any:
        row = self.owner.execute(query).fetchone()
        return row[0] if row else None

    def drain_to(self, ends: str) -> None:
        """A drain to these ends, as the request would write it after it asked the broker."""
        request(self.settings, "stop", "before-the-drain")
        self.sql("UPDATE ops.stream_control SET desired = 'drained', drain_to = %s", ends)

    def ledger(self, offset: int, topic_id: str = "T", partition: int = 0) -> None:
        self.sql(
            "INSERT INTO ops.ledger VALUES (%s, %s, 'labs', %s)"
            " ON CONFLICT (topic_id, partition) DO UPDATE SET next_offset = excluded.next_offset",
            *(topic_id, partition, offset),
        )

    def commit(self, start: int, generation: int, seconds_ago: float = 0.0) -> None:
        self.ledger(start + 1)
        self.sql(A_RANGE, "T", start, start + 1, generation, seconds_ago)


@pytest.fixture(scope="module")
def empty_ward(server: Settings) -> Iterator[Ward]:
    settings = another_database(server, "wardstream_control")
    migrate(settings)
    with connect(settings.owner_url, "test") as owner:
        yield Ward(settings, owner)


@pytest.fixture
def ward(empty_ward: Ward) -> Ward:
    empty_ward.sql("TRUNCATE ops.streams, ops.stream_leases, ops.ledger, ops.ledger_ranges")
    empty_ward.sql("TRUNCATE ops.stream_requests, ops.stream_control")
    empty_ward.sql(
        "INSERT INTO ops.stream_control (stream, desired, requested_by) VALUES ('main', 'running', 'migration')"
    )
    return empty_ward


@pytest.fixture
def driver(ward: Ward) -> Iterator[Lease]:
    """A lease as a running driver holds it, for the restarts asked for so far."""
    lease = Lease(ward.settings, "main")
    lease.take(read_control(ward.settings).restarts)
    lease.state = "running"
    lease.beat()
    yield lease
    lease.release()


# -- requests ------------------------------------------------------------------------------------------------------


def test_a_new_database_wants_a_running_stream(ward):
    assert (read_control(ward.settings).desired, read_control(ward.settings).requested_by) == ("running", "migration")


def test_each_request_is_written_with_who_and_when(ward, driver):
    before = read_control(ward.settings)
    asked = request(ward.settings, "stop", "run-1")
    assert (asked.desired, asked.requested_by, asked.revision) == ("stopped", "run-1", before.revision + 1)
    assert asked.requested_at > before.requested_at and asked.generation_at_request == driver.generation
    assert asked.restarts == before.restarts
    again = request(ward.settings, "restart", "run-2")
    assert (again.desired, again.restarts) == ("running", before.restarts + 1)


def test_the_same_requester_asks_once_whatever_came_in_between(ward):
    first = request(ward.settings, "restart", "run-1")
    assert request(ward.settings, "restart", "run-1") == first
    stopped = request(ward.settings, "stop", "somebody-else")
    assert request(ward.settings, "restart", "run-1") == stopped, "a retried task must not undo what came later"


def test_one_name_cannot_ask_for_two_things(ward):
    request(ward.settings, "start", "run-1")
    with pytest.raises(RequestConflict, match=r"run-1 has asked for start .* cannot ask for stop"):
        request(ward.settings, "stop", "run-1")
    assert read_control(ward.settings).desired == "running"


def test_requests_at_the_same_time_come_one_after_the_other(ward):
    before = read_control(ward.settings).revision
    names = [f"run-{n % 4}" for n in range(16)]  # each four times
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda name: request(ward.settings, "restart", name), names))
    after = read_control(ward.settings)
    assert (after.revision, after.restarts) == (before + 4, 4)
    revisions = ward.owner.execute("SELECT revision FROM ops.stream_requests ORDER BY revision").fetchall()
    assert revisions == [(before + n,) for n in (1, 2, 3, 4)]


def test_a_drain_that_cannot_ask_the_broker_changes_nothing(ward):
    nobody = ward.settings.model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:1"})
    with pytest.raises(KafkaException):
        request(nobody, "drain", "run-1")
    assert read_control(ward.settings).desired == "running"
    assert ward.one("SELECT count(*) FROM ops.stream_requests") == 0


def test_without_a_row_nobody_knows(ward):
    ward.sql("DELETE FROM ops.stream_control")
    for ask in (read_control, evidence, findings, lambda s: request(s, "start", "run-1")):
        with pytest.raises(ControlMissing):
            ask(ward.settings)
    with pytest.raises(ControlMissing):
        wait_for_turn(ward.settings, "main", threading.Event())


def test_the_writer_may_not_rewrite_who_asked(ward):
    with connect(ward.settings.writer_url, "test") as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute("UPDATE ops.stream_requests SET requested_by = 'nobody'")


# -- whose turn it is ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ends", "wanted"),
    [
        ('{"T": {"0": 10}}', False),
        ('{"T": {"0": 11}}', True),
        ('{"T": {"0": 10, "1": 0}}', True),  # the ledger does not know partition 1
        ('{"T": {"0": 9}, "U": {"0": 3}}', True),
        ("{}", False),
    ],
)
def test_a_drain_is_over_when_the_ledger_is_there(ward, ends, wanted):
    ward.ledger(10)
    ward.drain_to(ends)
    with connect(ward.settings.writer_url, "test") as conn:
        assert look(conn, "main").wanted is wanted
    assert situation(ward.settings).wanted is wanted


HELD = HeldTopic("T", 7, "2026-03-02T08:15:00+00:00", {"0": 3})


@pytest.mark.parametrize(
    ("held", "wanted"),
    [({}, True), ({"labs": HELD}, False), ({"labs": replace(HELD, topic_id="of-another-log")}, True)],
)
def test_a_held_topic_ends_no_drain_and_no_other_topic(ward, driver, held, wanted):
    ward.ledger(9)
    ward.ledger(3, "U")
    driver.held = held
    driver.beat()
    ward.drain_to('{"T": {"0": 12}, "U": {"0": 3}}')
    for others in (wanted, True):
        with connect(ward.settings.writer_url, "test") as conn:
            assert look(conn, "main").wanted is others
        assert situation(ward.settings).wanted is others
        ward.drain_to('{"T": {"0": 12}, "U": {"0": 4}}')


def test_a_held_topic_is_known_without_a_driver_and_to_the_next_one(ward, driver):
    driver.held = {"labs": HELD}
    driver.lag, driver.behind_since = {"labs": {"0": 3}}, {"labs": HELD.since}
    driver.beat()
    ward.sql("UPDATE ops.stream_control SET requested_at = now() - interval '1 hour'")
    (found,) = findings(ward.settings)  # and not that it is behind as well
    assert found.code == "held:labs" and found.since.isoformat() == HELD.since and "3 events wait" in found.said
    driver.held = {"labs": replace(HELD, lag={"0": 4})}
    driver.release()  # what it held at its end counts, told by a heartbeat or not
    assert {one.code for one in findings(ward.settings)} >= {"held:labs"}
    after = Lease(ward.settings, "main")
    after.take(0)
    assert after.held == {"labs": replace(HELD, lag={"0": 4})}
    after.held = {}
    after.beat()
    after.release()
    assert "held:labs" not in {one.code for one in findings(ward.settings)}


def test_a_process_waits_visibly_and_begins_when_asked(ward):
    request(ward.settings, "stop", "run-1")
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        turn = pool.submit(wait_for_turn, ward.settings, "main", stop)
        while read_control(ward.settings).waiting_pid is None:
            assert not turn.done()
        assert read_control(ward.settings).waiting_pid == os.getpid()
        purpose = stream_purpose(ward.settings)
        assert purpose is not None and purpose.waits_on_purpose(os.getpid()) and not purpose.waits_on_purpose(1)
        assert "a process waits" in evidence(ward.settings).seen
        restarts = request(ward.settings, "restart", "run-2").restarts
        found = turn.result(timeout=10)
    assert found is not None and (found.wanted, found.restarts) == (True, restarts)


def test_a_process_that_ends_while_it_waits_says_so(ward):
    request(ward.settings, "stop", "run-1")
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        turn = pool.submit(wait_for_turn, ward.settings, "main", stop)
        while read_control(ward.settings).waiting_pid is None:
            assert not turn.done()
        stop.set()
        assert turn.result(timeout=10) is None
    assert read_control(ward.settings).waiting_pid is None


def test_a_waiting_process_outlives_its_session(ward):
    """As when PostgreSQL was restarted."""
    request(ward.settings, "stop", "run-1")
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        turn = pool.submit(wait_for_turn, ward.settings, "main", stop)
        while read_control(ward.settings).waiting_pid is None:
            assert not turn.done()
        _end_session(ward.settings, "wardstream waiting main")
        ward.sql("UPDATE ops.stream_control SET waiting_seen_at = NULL")
        while read_control(ward.settings).waiting_seen_at is None:
            assert not turn.done()
        request(ward.settings, "start", "run-2")
        assert turn.result(timeout=10) is not None


def _end_session(settings: Settings, name: str) -> None:
    with connect(settings.writer_url, "test") as conn:
        ended = conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", [name]
        ).fetchall()
    assert ended == [(True,)]


# -- evidence ------------------------------------------------------------------------------------------------------


def test_running_needs_a_driver_that_commits_or_is_up_to_date(ward, driver):
    request(ward.settings, "start", "run-1")
    assert not evidence(ward.settings).reached
    for offset in (0, 1):
        ward.commit(offset, driver.generation)
    assert not evidence(ward.settings).reached
    ward.commit(2, driver.generation)
    assert evidence(ward.settings, by="run-1").reached


def test_up_to_date_counts_from_the_request_on(ward, driver):
    driver.caught_up_at = ward.one("SELECT clock_timestamp()")
    driver.beat()
    request(ward.settings, "start", "run-1")
    assert not evidence(ward.settings).reached, "that was before"
    driver.caught_up_at = ward.one("SELECT clock_timestamp()")
    driver.beat()
    assert evidence(ward.settings).reached


def test_commits_of_before_do_not_count(ward, driver):
    for offset in range(3):
        ward.commit(offset, driver.generation, seconds_ago=5.0)
    request(ward.settings, "start", "run-1")
    assert not evidence(ward.settings).reached


def test_commits_of_another_driver_do_not_count(ward, driver):
    request(ward.settings, "start", "run-1")
    for offset in range(3):
        ward.commit(offset, driver.generation - 1)
    assert not evidence(ward.settings).reached


def test_three_commits_are_seen_however_they_lie(ward, driver):
    """One partition has the latest many, another one the third latest."""
    request(ward.settings, "start", "run-1")
    ward.ledger(1, topic_id="U")
    ward.sql(A_RANGE, "U", 0, 1, driver.generation, 0.0)
    ward.commit(0, driver.generation)
    assert situation(ward.settings).batches == 2
    for offset in range(1, 9):
        ward.commit(offset, driver.generation)
    assert situation(ward.settings).batches >= 3


@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE ops.streams SET heartbeat_at = now() - interval '11 seconds'",
        "UPDATE ops.streams SET state = 'starting'",
        "UPDATE ops.streams SET restarts = restarts - 1",
        "UPDATE ops.streams SET generation = generation + 1",
    ],
)
def test_a_driver_that_is_not_what_it_was_does_not_count(ward, driver, spoil):
    request(ward.settings, "start", "run-1")
    for offset in range(3):
        ward.commit(offset, driver.generation)
    assert evidence(ward.settings).reached
    ward.sql(spoil)
    assert not evidence(ward.settings).reached


def test_a_killed_drivers_last_heartbeat_does_not_count(ward, driver):
    request(ward.settings, "start", "run-1")
    for offset in range(3):
        ward.commit(offset, driver.generation)
    driver._conn.close()
    _until(lambda: situation(ward.settings).gone)
    found = evidence(ward.settings)
    assert not found.reached and "no driver runs" in found.seen


def test_a_restart_needs_a_new_driver(ward, driver):
    request(ward.settings, "restart", "run-1")
    driver.caught_up_at = ward.one("SELECT clock_timestamp()")
    driver.beat()
    for offset in range(3):
        ward.commit(offset, driver.generation)
    found = evidence(ward.settings)
    assert not found.reached and "before the restart" in found.seen
    driver.release()
    successor = Lease(ward.settings, "main")
    successor.take(read_control(ward.settings).restarts)
    assert not situation(ward.settings).caught_up, "what the one before saw does not count"
    successor.state, successor.caught_up_at = "running", ward.one("SELECT clock_timestamp()")
    successor.beat()
    assert evidence(ward.settings).reached
    successor.release()


def test_stopped_means_that_nobody_is_left(ward, driver):
    request(ward.settings, "stop", "run-1")
    assert not evidence(ward.settings).reached
    committing = connect(ward.settings.writer_url, "wardstream commit main")
    driver.release()
    assert ward.one("SELECT state FROM ops.streams") == "stopped"
    _until(lambda: not situation(ward.settings).leased)
    assert not evidence(ward.settings).reached, "a session of it can still commit"
    committing.close()
    _until(lambda: evidence(ward.settings).reached)


@pytest.mark.parametrize("role", ["writer", "owner"])
def test_a_session_that_holds_the_stream_is_a_driver_whatever_its_name(ward, role):
    """Of another role's session the writer does not see when it began."""
    request(ward.settings, "stop", "run-1")
    assert evidence(ward.settings).reached
    holder = connect(getattr(ward.settings, f"{role}_url"), "test")
    own = "pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
    hold = f"INSERT INTO ops.stream_leases SELECT %s, {own}"
    holder.execute(hold, ["another"])
    assert evidence(ward.settings).reached
    holder.execute(hold, ["main"])
    assert not evidence(ward.settings).reached
    holder.close()
    _until(lambda: evidence(ward.settings).reached)


def test_a_session_with_the_number_of_a_former_holder_holds_nothing(ward):
    request(ward.settings, "stop", "run-1")
    with connect(ward.settings.writer_url, "test") as conn:
        number = conn.info.backend_pid
        conn.execute("INSERT INTO ops.stream_leases VALUES ('main', %s, '2020-01-01')", [number])
        assert evidence(ward.settings).reached
        assert Lease(ward.settings, "main")._try_to_hold()


def test_drained_means_committed_and_nobody_left(ward, driver):
    ward.ledger(4)
    ward.drain_to('{"T": {"0": 5}, "U": {"0": 2}}')
    found = evidence(ward.settings)
    assert not found.reached and "3 offsets in 2 partitions are left" in found.seen
    ward.ledger(5)
    ward.ledger(7, topic_id="U")
    assert not evidence(ward.settings).reached, "its driver is still there"
    driver.release()
    _until(lambda: evidence(ward.settings).reached)
    ward.ledger(4)
    assert not evidence(ward.settings).reached


def test_a_later_request_makes_waiting_for_an_earlier_one_useless(ward):
    request(ward.settings, "start", "run-1")
    request(ward.settings, "stop", "run-2")
    found = evidence(ward.settings, by="run-1")
    assert found.hopeless and not found.reached and "run-2" in found.seen
    assert evidence(ward.settings, by="run-2").reached


def test_nobody_there_is_hopeless_after_a_while(ward, monkeypatch):
    request(ward.settings, "start", "run-1")
    assert not evidence(ward.settings).hopeless
    monkeypatch.setattr(control, "SILENT_SECONDS", 0.2)
    _until(lambda: evidence(ward.settings).hopeless)
    assert "wardstream up" in evidence(ward.settings).advice


# -- findings ------------------------------------------------------------------------------------------------------


def codes(ward: Ward) -> list[str]:
    return [finding.code for finding in findings(ward.settings)]


def test_a_running_stream_has_none(ward, driver):
    assert codes(ward) == []


def test_nobody_there_is_found_unless_it_is_meant(ward, monkeypatch):
    monkeypatch.setattr(control, "SILENT_SECONDS", 0.2)
    _until(lambda: codes(ward) == ["no_process"])
    request(ward.settings, "stop", "run-1")
    assert codes(ward) == []


def test_a_frozen_driver_is_found(ward, driver, monkeypatch):
    ward.sql("UPDATE ops.stream_control SET requested_at = now() - interval '1 hour'")
    monkeypatch.setattr(control, "SILENT_SECONDS", 3.0)
    _until(lambda: codes(ward) == ["driver_silent"])
    driver.beat()
    assert codes(ward) == []


def test_a_driver_that_stays_is_found(ward, driver):
    request(ward.settings, "stop", "run-1")
    assert codes(ward) == []
    ward.sql("UPDATE ops.stream_control SET requested_at = now() - interval '1 hour'")
    assert codes(ward) == ["still_runs"]


def test_drivers_that_die_one_after_the_other_are_found(ward):
    """As with a topic that was recreated: no batch, no lag, only generations."""
    for start in range(1, 5):
        assert codes(ward) == [], f"{start - 1} deaths may be anything"
        lease = Lease(ward.settings, "main")
        lease.take()
        lease._conn.close()
    lease = Lease(ward.settings, "main")
    lease.take()
    assert codes(ward) == ["crash_loop"]
    ward.sql("UPDATE ops.streams SET last_commit_at = clock_timestamp()")
    assert codes(ward) == []
    lease.release()


def test_a_crash_loop_is_counted_from_its_first_start(ward):
    """Not from the last commit, a quiet night before, and not from the tenth start ago."""
    lease = Lease(ward.settings, "main")
    lease.take()
    lease._conn.close()
    ward.sql("UPDATE ops.streams SET last_commit_at = now() - interval '8 hours', recent_starts = '{}'")
    starts = []
    for _ in range(14):
        lease = Lease(ward.settings, "main")
        lease.take()
        starts.append(ward.one("SELECT started_at FROM ops.streams"))
        lease._conn.close()
    (found,) = findings(ward.settings)
    assert found.code == "crash_loop" and abs((found.since - starts[0]).total_seconds()) < 0.1
    assert ward.one("SELECT cardinality(recent_starts) FROM ops.streams") == 10


def test_restarts_that_were_asked_for_are_no_crash_loop(ward):
    for _ in range(6):
        lease = Lease(ward.settings, "main")
        lease.take()
        lease.release()
    lease = Lease(ward.settings, "main")
    lease.take()
    assert codes(ward) == []
    lease.release()


def test_a_topic_that_waits_too_long_is_found(ward, driver):
    ward.sql("UPDATE ops.stream_control SET requested_at = now() - interval '1 hour'")
    driver.lag = {"labs": {"0": 12}, "patients": {"0": 3}}
    driver.beat()
    assert codes(ward) == []
    driver.behind_since = {"labs": "2026-03-02T08:15:00+00:00"}
    driver.beat()
    assert codes(ward) == ["behind:labs"]
    driver.release()


def test_a_successor_knows_since_when(ward, driver):
    driver.behind_since = {"labs": "2026-03-02T08:15:00+00:00"}
    driver.beat()
    driver.release()
    successor = Lease(ward.settings, "main")
    successor.take()
    assert successor.behind_since == {"labs": "2026-03-02T08:15:00+00:00"}
    successor.release()


# -- a rebuild by another fold waits until no driver of before is left --------------------------------------------


def test_a_driver_of_before_is_asked_to_begin_anew_and_waited_for(ward, driver):
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(restart_driver, ward.settings, 10.0)
        _until(lambda: look(ward.owner, "main").ends(0) is not None)
        assert not waiting.done()
        successor = _succeed(ward, driver)
        waiting.result()
    assert not situation(ward.settings).gone, "it waits for no more than the next driver"
    successor.release()


def _succeed(ward: Ward, driver: Lease) -> Lease:
    """The next driver, as the process manager starts it once this one has left."""
    driver.release()
    successor = Lease(ward.settings, "main")
    successor.take(read_control(ward.settings).restarts)
    return successor


def test_a_driver_that_does_not_leave_ends_the_rebuild(ward, driver):
    with pytest.raises(StackError, match="did not begin anew"):
        restart_driver(ward.settings, 0.1)


@pytest.mark.parametrize("action", ["start", "stop"])
def test_where_no_driver_runs_nothing_is_asked_for(ward, action):
    asked = request(ward.settings, action, "run-1")
    restart_driver(ward.settings, 0.1)
    assert read_control(ward.settings) == asked


def test_a_driver_that_was_asked_to_stop_is_waited_for_and_not_started(ward, driver):
    asked = request(ward.settings, "stop", "run-1")
    with pytest.raises(StackError, match="did not begin anew"):
        restart_driver(ward.settings, 0.1)
    driver.release()
    restart_driver(ward.settings, 10.0)
    assert read_control(ward.settings) == asked


# -- the migration -------------------------------------------------------------------------------------------------


def test_every_column_has_a_comment_and_the_rollback_takes_all_back(server):
    settings = another_database(server, "wardstream_control_rollback")
    migrate(settings)
    with connect(settings.owner_url, "test") as owner:
        silent = owner.execute(
            "SELECT a.attrelid::regclass::text, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
            " WHERE c.relkind = 'r' AND c.relnamespace = 'ops'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped"
            " AND c.relname IN ('streams', 'stream_control', 'stream_requests', 'stream_leases')"
            " AND col_description(a.attrelid, a.attnum) IS NULL"
        ).fetchall()
        assert silent == []
    rollback(settings)
    migrate(settings)


def _until(holds: Any, seconds: float = 10.0) -> None:
    done = threading.Event()
    for _ in range(int(seconds / 0.05)):
        if holds():
            return
        done.wait(0.05)
    raise AssertionError("waited in vain")
