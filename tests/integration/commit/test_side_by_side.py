"""Two batches of one query on their way: the second one stores its history while the first one is not committed yet."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg
import pytest

from tests.e2e.hospital import wait_for
from tests.integration.commit.bench import Bench, from_offset
from tests.integration.commit.facts import Fact, lab
from wardstream.database.connection import connect
from wardstream.database.locks import lock_commits
from wardstream.stream import commit, commit_threads
from wardstream.stream.commit import Batch, Committer, NotOurs, Outcome
from wardstream.stream.commit_threads import Turn
from wardstream.stream.commits import LOST, Commits

QUERY = ("labs",)
IN_HISTORY = (
    "SELECT pid FROM pg_locks WHERE granted AND mode = 'RowExclusiveLock' AND relation = 'history.labs'::regclass"
)
BEHIND_ANOTHER = "SELECT pid FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"
AT_HISTORY = "SELECT pid FROM pg_locks WHERE NOT granted AND relation = 'history.labs'::regclass"
IDLE_IN_COMMIT = "SELECT pid FROM pg_stat_activity WHERE state = 'idle in transaction' AND query LIKE 'RELEASE%'"
AT_THE_LOCK = "SELECT pid FROM pg_locks WHERE NOT granted AND relation = 'ops.commit_lock'::regclass"


@dataclass
class Driver:
    """What stands around the commits: where they are told, and what becomes of them."""

    bench: Bench
    outcomes: list[Outcome | None] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    leaving: threading.Event = field(default_factory=threading.Event)
    committers: list[Committer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.commits = Commits(self._committer_of, self.leaving.is_set, self.leaving, self.failures.append)

    def _committer_of(self, query: tuple[str, ...]) -> Committer:
        self.committers.append(self.bench.new_committer())
        return self.committers[-1]

    def begin(self, batch: Batch) -> None:
        self.commits.threads.wait_for_place(QUERY)
        self.commits.begin(QUERY, batch, self.outcomes.append)

    def end(self) -> None:
        self.commits.threads.wait_for_all()


@pytest.fixture
def driver(bench: Bench) -> Iterator[Driver]:
    made = Driver(bench)
    # a session of each place: the first batch of one would ask whether it was committed, and wait for the lock to do so
    made.begin(bench.batch(facts(0, 1)))
    made.end()
    made.commits._committers[QUERY, 1] = made._committer_of(QUERY)
    made.outcomes.clear()
    yield made
    made.end()
    for committer in made.committers:
        committer.close()


@contextmanager
def commits_held_up(bench: Bench) -> Generator[None, None, None]:
    with connect(bench.settings.owner_url, "test") as other, other.transaction():
        lock_commits(other)
        yield


def facts(start: int, end: int) -> list[Fact]:
    return [lab(f"e{n}", "resulted", n, lab_result_id=f"L{n}") for n in range(start, end)]


def test_the_second_stores_its_history_while_the_first_waits(bench, driver):
    first, second = bench.batch(facts(1, 4)), bench.batch(facts(4, 9))
    with commits_held_up(bench):
        driver.begin(first)
        driver.begin(second)
        wait_for("both in history", lambda: len(set(bench.rows(IN_HISTORY))) == 2, 20)
        assert len(bench.rows("SELECT FROM history.labs")) == 1 and len(bench.rows(AT_THE_LOCK)) == 1
    driver.end()
    assert [outcome.stored.total() for outcome in driver.outcomes] == [3, 5] and not driver.failures
    assert bench.rows("SELECT start_offset, end_offset FROM ops.ledger_ranges ORDER BY commit_seq") == [
        *((0, 1), (1, 4), (4, 9))
    ]
    assert len(bench.rows("SELECT FROM core.lab_results")) == 9 and bench.not_as_folded() == []


def test_what_both_hold_is_the_firsts(bench, driver):
    first, second = bench.batch(facts(1, 4)), bench.batch(facts(2, 5))
    with commits_held_up(bench):
        driver.begin(first)
        driver.begin(second)
        wait_for("the second behind the first", lambda: len(bench.rows(BEHIND_ANOTHER)) == 1, 20)
    driver.end()
    assert [(o.stored.total(), o.duplicate.total()) for o in driver.outcomes] == [(3, 0), (1, 2)]
    assert bench.rows('SELECT "offset" FROM ops.duplicates ORDER BY 1') == [(4,), (5,)]
    assert bench.rows('SELECT "offset" FROM history.labs ORDER BY 1') == [(0,), (1,), (2,), (3,), (6,)]


def test_the_second_gives_way_to_a_first_that_must_store_anew(bench, driver, monkeypatch):
    """Else each would wait for the other: the first one in PostgreSQL, and the second one here."""
    monkeypatch.setattr(commit_threads, "HOLD_SECONDS", 3600.0)
    first, second = bench.batch(facts(1, 4)), bench.batch(facts(2, 5))
    with commits_held_up(bench):
        driver.begin(first)
        driver.begin(second)
        wait_for("the second behind the first", lambda: len(bench.rows(BEHIND_ANOTHER)) == 1, 20)
        [(pid,)] = bench.rows(AT_THE_LOCK)
        bench.admin.execute("SELECT pg_terminate_backend(%s)", [pid])
        # now the second one holds what the first one will need
        wait_for("nobody behind another", lambda: bench.rows(BEHIND_ANOTHER) == [], 20)
    wait_for("both told", lambda: len(driver.outcomes) == 2, 60)
    assert [(o.stored.total(), o.duplicate.total()) for o in driver.outcomes] == [(3, 0), (1, 2)]
    assert not driver.failures and len(driver.committers) == 3
    assert bench.rows('SELECT "offset" FROM history.labs ORDER BY 1') == [(0,), (1,), (2,), (3,), (6,)]
    assert bench.not_as_folded() == []


def test_the_second_gives_way_where_rows_of_the_first_are_refused(bench, driver, monkeypatch):
    """The first one is rolled back, and stores its rows piece by piece."""
    monkeypatch.setattr(commit_threads, "HOLD_SECONDS", 3600.0)
    committer = driver.commits._committers[QUERY, 0]
    compute, refused = committer._compute_core, list[Counter[tuple[str, int]]]()

    def refuses_once(topic, now, stored, duplicate):
        if not refused:
            refused.append(stored)
            raise psycopg.errors.NumericValueOutOfRange
        compute(topic, now, stored, duplicate)

    monkeypatch.setattr(committer, "_compute_core", refuses_once)
    first, second = bench.batch(facts(1, 4)), bench.batch(facts(2, 5))
    with commits_held_up(bench):
        driver.begin(first)
        driver.begin(second)
        wait_for("the second behind the first", lambda: len(bench.rows(BEHIND_ANOTHER)) == 1, 20)
    wait_for("both told", lambda: len(driver.outcomes) == 2, 60)
    assert refused and [(o.stored.total(), o.duplicate.total()) for o in driver.outcomes] == [(3, 0), (1, 2)]
    assert bench.not_as_folded() == []


def test_a_second_that_waits_long_holds_nothing(bench, driver, monkeypatch):
    monkeypatch.setattr(commit_threads, "HOLD_SECONDS", 0.2)
    with commits_held_up(bench):
        driver.begin(bench.batch(facts(1, 4)))
        driver.begin(bench.batch(facts(4, 9)))
        wait_for("both in history", lambda: len(set(bench.rows(IN_HISTORY))) == 2, 20)
        wait_for("only the first in history", lambda: len(set(bench.rows(IN_HISTORY))) == 1, 20)
    driver.end()
    assert [outcome.stored.total() for outcome in driver.outcomes] == [3, 5] and not driver.failures


def test_the_second_is_not_stored_where_the_first_is_not_ours(bench, driver):
    before = bench.digest()
    with commits_held_up(bench):
        driver.begin(from_offset(bench.batch(facts(1, 4)), "labs", 7))
        driver.begin(bench.batch(facts(4, 9)))
        wait_for("both in history", lambda: len(set(bench.rows(IN_HISTORY))) == 2, 20)
    driver.end()
    assert [type(failure) for failure in driver.failures] == [NotOurs, NotOurs] and driver.outcomes == []
    assert len(bench.rows("SELECT FROM history.labs")) == 1 and bench.digest() == before


def test_the_second_is_left_to_the_next_driver_where_this_one_leaves(bench, driver):
    with commits_held_up(bench):
        driver.begin(bench.batch(facts(1, 4)))
        driver.begin(bench.batch(facts(4, 9)))
        wait_for("both in history", lambda: len(set(bench.rows(IN_HISTORY))) == 2, 20)
        driver.leaving.set()
    driver.end()
    first, second = driver.outcomes
    assert first is not None and first.stored.total() == 3 and second is None and not driver.failures
    assert bench.row("ops.ledger", "topic = 'labs'")["next_offset"] == 4


class Frozen(Turn):
    """A turn in which the process freezes, its history stored."""

    def __init__(self) -> None:
        super().__init__()
        self.thawed = threading.Event()

    def wait(self) -> None:
        assert self.thawed.wait(60)


def test_a_session_that_is_frozen_in_a_commit_is_ended(bench, monkeypatch):
    """It holds what the next driver must store."""
    monkeypatch.setattr(commit, "IDLE_IN_TRANSACTION", "500ms")
    batch, turn, ended = bench.batch(facts(0, 3)), Frozen(), list[type[Exception]]()
    frozen = bench.new_committer()

    def run() -> None:
        try:
            frozen.commit(batch, turn)
        except psycopg.Error as error:
            ended.append(type(error))

    thread = threading.Thread(target=run)
    thread.start()
    wait_for("the frozen one in history", lambda: bench.rows(IN_HISTORY) != [], 20)
    assert bench.committer.commit(batch).stored.total() == 3
    turn.thawed.set()
    thread.join()
    assert len(ended) == 1 and issubclass(ended[0], LOST)
    frozen.close()


def test_they_store_in_their_order(bench, driver):
    """Where both hold a fact, the first offset of it is kept."""
    with connect(bench.settings.owner_url, "test") as other, other.transaction():
        other.execute("LOCK TABLE history.labs IN SHARE MODE")
        driver.begin(bench.batch(facts(1, 4)))
        wait_for("the first at history", lambda: len(bench.rows(AT_HISTORY)) == 1, 20)
        driver.begin(bench.batch(facts(2, 5)))
        wait_for("the second staged", lambda: len(bench.rows(IDLE_IN_COMMIT)) == 1, 20)
        assert len(bench.rows(AT_HISTORY)) == 1
    driver.end()
    assert [(o.stored.total(), o.duplicate.total()) for o in driver.outcomes] == [(3, 0), (1, 2)]
