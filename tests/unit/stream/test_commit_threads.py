"""A batch is committed beside whoever handed it over, and beside the batches of other queries."""

from __future__ import annotations

import threading

import pytest

from wardstream.stream.commit_threads import CommitThreads

LABS, STAYS = ("labs",), ("admissions",)


@pytest.fixture
def commits() -> CommitThreads:
    return CommitThreads()


def test_whoever_hands_over_goes_on_and_waits_before_the_next(commits: CommitThreads):
    may_end, ended = threading.Event(), threading.Event()

    def commit() -> None:
        assert may_end.wait(10)
        ended.set()

    commits.begin(LABS, commit)
    assert commits.busy and not ended.is_set()
    may_end.set()
    commits.wait(LABS)
    assert ended.is_set() and not commits.busy


def test_queries_do_not_wait_for_each_other(commits: CommitThreads):
    both = threading.Barrier(2, timeout=10)

    def commit() -> None:
        both.wait()

    for query in (LABS, STAYS):
        commits.begin(query, commit)
    commits.wait_for_all()
    assert not commits.busy and not both.broken


def test_nothing_to_wait_for(commits: CommitThreads):
    commits.wait(LABS)
    commits.wait_for_all()
    assert not commits.busy
