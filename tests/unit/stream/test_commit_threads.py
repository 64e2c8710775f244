"""A batch is committed beside whoever handed it over, beside those of other queries, and after the one before it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from wardstream.stream import commit_threads
from wardstream.stream.commit_threads import CommitThreads, LeftOut, NotYet, Turn

LABS, STAYS = ("labs",), ("admissions",)


@pytest.fixture
def commits() -> CommitThreads:
    return CommitThreads()


def waits_for(event: threading.Event) -> Callable[[Turn], None]:
    def commit(turn: Turn) -> None:
        assert event.wait(10)

    return commit


def raised(wait: Callable[[], None]) -> tuple[threading.Thread, list[Exception | None]]:
    """A thread that waits, and what the wait came to; empty while it lasts."""
    found: list[Exception | None] = []

    def run() -> None:
        try:
            wait()
            found.append(None)
        except Exception as error:  # noqa: BLE001 - looked at by the test
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, found


def comes_after(wait: Callable[[], None], what: Callable[[], None]) -> list[Exception | None]:
    """What a wait came to that lasts until something is done."""
    thread, found = raised(wait)
    thread.join(0.1)
    assert thread.is_alive()
    what()
    thread.join(10)
    return found


def test_whoever_hands_over_goes_on(commits: CommitThreads):
    may_end = threading.Event()
    commits.begin(LABS, waits_for(may_end))
    assert commits.busy
    may_end.set()
    commits.wait_for_all()
    assert not commits.busy


def test_a_third_batch_waits_for_the_first(commits: CommitThreads):
    ends = [threading.Event(), threading.Event()]
    for end in ends:
        commits.wait_for_place(LABS)
        commits.begin(LABS, waits_for(end))
    assert comes_after(lambda: commits.wait_for_place(LABS), ends[0].set) == [None] and commits.busy
    ends[1].set()
    commits.wait_for_all()


def test_batches_on_their_way_have_places_of_their_own(commits: CommitThreads):
    places: list[int] = []
    end = threading.Event()

    def commit(turn: Turn) -> None:
        places.append(turn.place)
        assert end.wait(10)

    commits.begin(LABS, commit)
    commits.begin(LABS, commit)
    end.set()
    commits.wait_for_all()
    assert sorted(places) == [0, 1]


def test_slow_batches_have_one_place(commits: CommitThreads):
    places: list[int] = []
    for _ in range(3):
        commits.begin(LABS, lambda turn: places.append(turn.place))
        commits.wait_for_all()
    assert places == [0, 0, 0]


def test_queries_do_not_wait_for_each_other(commits: CommitThreads):
    both = threading.Barrier(2, timeout=10)

    def commit(turn: Turn) -> None:
        turn.wait()
        both.wait()

    for query in (LABS, STAYS):
        commits.begin(query, commit)
    commits.wait_for_all()
    assert not commits.busy and not both.broken


def test_nothing_to_wait_for(commits: CommitThreads):
    commits.wait_for_place(LABS)
    commits.wait_for_all()
    assert not commits.busy


def test_history_is_stored_in_order_and_core_after_the_commit_before():
    first = Turn()
    second = first.next(1)
    first.begin()
    second.begin()
    assert comes_after(second.wait_for_history, first.history_is_stored) == [None]
    assert comes_after(second.wait, first.end) == [None]


def test_a_batch_leaves_where_the_one_before_begins_anew():
    first = Turn()
    second = first.next(1)
    first.begin()
    first.history_is_stored()
    second.wait_for_history()
    thread, found = raised(second.wait)
    first.begin()
    thread.join(5)
    assert isinstance(found[0], NotYet)
    assert comes_after(second.wait_for_end_of_before, first.end) == [None]
    second.wait_for_history()
    second.wait()


@pytest.mark.parametrize("wait", [Turn.wait_for_history, Turn.wait])
def test_a_batch_holds_nothing_for_long(wait: Callable[[Turn], None], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(commit_threads, "HOLD_SECONDS", 0.05)
    first = Turn()
    first.begin()
    if wait is Turn.wait:
        first.history_is_stored()
    with pytest.raises(NotYet):
        wait(first.next(1))


def test_a_batch_whose_turn_comes_too_late_is_left_out():
    leaving = threading.Event()
    first = Turn(leaves=leaving.is_set)
    second = first.next(1)
    first.begin()
    first.history_is_stored()
    second.wait_for_history()
    leaving.set()
    first.end()
    with pytest.raises(LeftOut):
        second.wait()


def test_a_batch_that_fails_lets_the_next_one_go(commits: CommitThreads):
    went: list[int] = []

    def fails(turn: Turn) -> None:
        raise RuntimeError("seen by nobody, as said in CommitThreads")

    def goes(turn: Turn) -> None:
        turn.wait()
        went.append(1)

    commits.begin(LABS, fails)
    commits.begin(LABS, goes)
    commits.wait_for_all()
    assert went == [1]
