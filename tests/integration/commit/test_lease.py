"""One driver at a time, on the real PostgreSQL: who may take a stream, and how an older driver learns of its end."""

from __future__ import annotations

import psycopg
import pytest

from tests.integration.commit.bench import Bench
from wardstream.database.connection import connect, scalar
from wardstream.settings import Settings
from wardstream.stream.lease import AnotherDriver, Lease, LeaseGone, session_name


@pytest.fixture
def impatient(bench: Bench, database: Settings) -> Settings:
    """Settings under which a heartbeat of more than a second ago is dead; `bench` empties the database."""
    return database.model_copy(update={"stream_takeover_seconds": 1.0})


def test_generations_rise(impatient: Settings) -> None:
    for generation in (1, 2, 3):
        lease = Lease(impatient, "lease-test")
        assert lease.take() == generation
        lease.release()


def test_a_second_driver_leaves_while_the_first_one_lives(impatient: Settings) -> None:
    first, second = Lease(impatient, "lease-test"), Lease(impatient, "lease-test")
    first.take()
    first.start_heartbeat()
    try:
        with pytest.raises(AnotherDriver, match="heartbeat moves"):
            # Longer than the heartbeat's pause, or the living driver would be taken for dead.
            Lease(impatient.model_copy(update={"stream_takeover_seconds": 30.0}), "lease-test").take()
        assert first.lost is None
    finally:
        first.release()
    assert second.take() == first.generation + 1
    second.release()


def test_a_silent_driver_is_replaced_and_its_sessions_ended(impatient: Settings) -> None:
    silent = Lease(impatient, "lease-test")
    silent.take()  # no heartbeat: as if it were frozen
    successor = Lease(impatient, "lease-test")
    assert successor.take() == silent.generation + 1
    with pytest.raises(psycopg.OperationalError):
        silent.beat()
    successor.release()


def test_only_sessions_that_are_open_are_named_for_a_successor(impatient: Settings) -> None:
    """PostgreSQL gives the number of a closed one to somebody else, who is not to be ended."""
    lease = Lease(impatient, "lease-test")
    lease.take()
    for _ in range(3):
        with connect(impatient.writer_url, session_name("ledger", "lease-test")) as conn:
            lease.register(conn)
    still = connect(impatient.writer_url, session_name("commit", "lease-test"))
    lease.register(still)
    with connect(impatient.owner_url, "wardstream test") as conn:
        named = scalar(conn, "SELECT backend_pids FROM ops.streams WHERE stream = 'lease-test'")
        own = scalar(conn, "SELECT pid FROM pg_stat_activity WHERE application_name = 'wardstream lease lease-test'")
        assert sorted(named) == sorted([own, still.info.backend_pid])
        # A number that went to another part of the platform: it lives on.
        other = connect(impatient.writer_url, "wardstream daily read")
        conn.execute("UPDATE ops.streams SET backend_pids = backend_pids || %s", [other.info.backend_pid])
    Lease(impatient, "lease-test").take()
    assert scalar(other, "SELECT 1") == 1
    with pytest.raises(psycopg.OperationalError):
        still.execute("SELECT 1")


def test_a_replaced_driver_learns_it_from_its_heartbeat(impatient: Settings) -> None:
    older = Lease(impatient, "lease-test")
    older.take()
    with psycopg.connect(impatient.owner_url) as conn:
        conn.execute("UPDATE ops.streams SET generation = generation + 1 WHERE stream = 'lease-test'")
    with pytest.raises(AnotherDriver, match="was replaced"):
        older.beat()
    older.release()


def test_starts_that_come_to_nothing_are_counted_until_one_commits(impatient: Settings) -> None:
    """Each makes the next one's batches ten times smaller: a batch too large for the heap must not end in a loop."""

    def take(waiting: int, commits: bool, as_asked: bool = False) -> int:
        lease = Lease(impatient, "lease-test")
        lease.take()
        lease.lag = {"labs": {"0": waiting}}
        lease.beat()
        if commits:
            with psycopg.connect(impatient.owner_url) as conn:
                conn.execute("UPDATE ops.streams SET last_commit_at = clock_timestamp()")
        lease.release(as_asked)
        return lease.fruitless_starts

    assert take(waiting=0, commits=False) == 0
    assert take(waiting=9, commits=False) == 0, "the one before had nothing to do"
    assert take(waiting=9, commits=False, as_asked=True) == 1
    assert take(waiting=9, commits=False) == 1, "the one before was asked to leave"
    assert take(waiting=9, commits=True) == 2
    assert take(waiting=0, commits=False) == 0


def test_a_generation_that_a_restore_took_away_is_not_taken_for_a_successor(impatient: Settings) -> None:
    lease = Lease(impatient, "lease-test")
    lease.take()
    with psycopg.connect(impatient.owner_url) as conn:
        conn.execute("UPDATE ops.streams SET generation = generation - 1")
    with pytest.raises(LeaseGone):
        lease.beat()
    lease.release()
