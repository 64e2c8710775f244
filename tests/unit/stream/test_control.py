"""What is concluded from a situation: each conclusion, and the one fact that takes it away."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardstream.stream.control import BEHIND_RUNBOOK, Situation, judge, look_for_faults
from wardstream.stream.turn import Turn

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
FRESHNESS = {"labs": 300.0, "patients": 300.0}
RUNNING = Situation(
    desired="running",
    requested_by="somebody",
    requested_at=NOON,
    wanted=True,
    undrained_offsets=0,
    undrained_partitions=0,
    generation=7,
    state="running",
    blocked_by=None,
    lag={"labs": {"0": 0}, "patients": {"0": 0}},
    behind_since={},
    held={},
    since_restart=True,
    caught_up=True,
    has_committed=True,
    fruitless_starts=0,
    generations_since_request=1,
    recent_starts=1,
    loop_age=None,
    committed_since_fourth_start=False,
    batches=0,
    sessions=2,
    leased=True,
    heartbeat_age=1.0,
    waiting_age=None,
    age=4000.0,
    commit_age=10.0,
    stalled=1.0,
    request_age=4000.0,
    silence=1.0,
    driver_silence=1.0,
)
STOPPED = replace(
    RUNNING, desired="stopped", wanted=False, state="stopped", sessions=0, leased=False, heartbeat_age=500.0,
    waiting_age=1.0, driver_silence=500.0,
)  # fmt: skip
DRAINED = replace(STOPPED, desired="drained")
DRAINING = replace(RUNNING, desired="drained", undrained_offsets=12, undrained_partitions=1)
DEAD = replace(RUNNING, sessions=0, leased=False, heartbeat_age=90.0, silence=90.0, driver_silence=90.0)
FROZEN = replace(RUNNING, heartbeat_age=90.0, silence=90.0, driver_silence=90.0)
LOOP = replace(
    RUNNING, state="starting", caught_up=False, has_committed=False, recent_starts=4, generations_since_request=4,
    age=3.0, lag={},
)  # fmt: skip
BLOCKED = replace(
    RUNNING, state="blocked", blocked_by="BrokerChanged: topic labs was recreated", caught_up=False, lag={},
)  # fmt: skip
AS_ASKED = [RUNNING, STOPPED, DRAINED]


@pytest.mark.parametrize("now", AS_ASKED, ids=lambda now: now.desired)
def test_as_asked(now):
    assert judge(now).reached and not judge(now).hopeless
    assert judge(now).advice == "nothing to do"
    assert look_for_faults(now, FRESHNESS) == []


@pytest.mark.parametrize(
    ("now", "fact"),
    [
        (RUNNING, {"heartbeat_age": 11.0}),
        (RUNNING, {"heartbeat_age": None, "generation": None, "state": None}),
        (RUNNING, {"sessions": 0}),  # killed a second ago: its last heartbeat is fresh
        (RUNNING, {"state": "starting"}),
        (RUNNING, {"state": "stopping"}),
        (RUNNING, {"since_restart": False}),
        (RUNNING, {"caught_up": False}),
        (RUNNING, {"caught_up": False, "batches": 2}),
        (STOPPED, {"leased": True}),
        (STOPPED, {"sessions": 1}),
        (DRAINED, {"leased": True}),
        (DRAINED, {"sessions": 1}),
        (DRAINED, {"wanted": True, "undrained_offsets": 1, "undrained_partitions": 1}),
    ],
)
def test_one_fact_less_and_it_is_not_reached(now: Situation, fact: dict[str, Any]):
    assert not judge(replace(now, **fact)).reached


def test_three_batches_are_enough_where_more_comes_all_the_time():
    assert judge(replace(RUNNING, caught_up=False, batches=3, lag={"labs": {"0": 900}})).reached


@pytest.mark.parametrize("now", [DEAD, FROZEN, LOOP, replace(DRAINING, **{**vars(DEAD), "desired": "drained"})])
def test_hopeless(now):
    assert judge(now).hopeless and not judge(now).reached
    assert "docs/runbooks/the-stream-is-not-as-asked.md" in judge(now).advice


@pytest.mark.parametrize(
    "now",
    [
        replace(DEAD, silence=20.0),  # a process on its way from its turn to its first heartbeat
        replace(DEAD, waiting_age=1.0, silence=1.0),
        replace(LOOP, generations_since_request=3),  # the fourth start may be the one that works
        replace(LOOP, committed_since_fourth_start=True),
        replace(FROZEN, request_age=20.0, silence=20.0),
        DRAINING,
    ],
)
def test_not_hopeless_yet(now):
    assert not judge(now).hopeless and not judge(now).reached


def test_a_blocked_stream_needs_somebody():
    found = judge(BLOCKED)
    assert found.hopeless and "the-stream-is-blocked.md" in found.advice
    assert "generation 7 is blocked (BrokerChanged: topic labs was recreated)" in found.seen
    assert not judge(replace(BLOCKED, state="waiting")).hopeless


def test_a_frozen_driver_will_not_stop():
    assert judge(replace(FROZEN, desired="stopped", wanted=False)).hopeless


def test_what_is_seen_does_not_change_while_nothing_changes():
    assert judge(RUNNING).seen == judge(replace(RUNNING, heartbeat_age=2.0, silence=2.0, request_age=4001.0)).seen


def codes(now: Situation) -> list[str]:
    return [finding.code for finding in look_for_faults(now, FRESHNESS)]


BEHIND = replace(RUNNING, lag={"labs": {"0": 5, "1": 4}, "patients": {"0": 0}}, behind_since={"labs": NOON.isoformat()})


@pytest.mark.parametrize(
    ("now", "code"),
    [
        (DEAD, "no_process"),
        (replace(DEAD, generation=None, state=None, heartbeat_age=None), "no_process"),
        (FROZEN, "driver_silent"),
        (LOOP, "crash_loop"),
        (BLOCKED, "blocked"),
        (replace(BLOCKED, state="waiting", age=200.0), "does_not_start"),
        (replace(LOOP, recent_starts=1, fruitless_starts=3, lag={"labs": {"0": 5}}), "crash_loop"),
        (replace(RUNNING, state="starting", age=200.0), "does_not_start"),
        (replace(RUNNING, since_restart=False, request_age=200.0), "not_restarted"),
        (BEHIND, "behind:labs"),
        (replace(BEHIND, stalled=200.0), "no_progress"),
        (replace(DRAINING, **{**vars(DEAD), "desired": "drained"}), "no_process"),
        (replace(RUNNING, desired="stopped", wanted=False, commit_age=200.0), "still_runs"),
    ],
)
def test_faults(now: Situation, code: str):
    assert codes(now) == [code]


def test_a_finding_about_lag_says_which_topic_how_many_and_since_when():
    (found,) = look_for_faults(BEHIND, FRESHNESS)
    assert "topic labs: 9 events wait" in found.said and "2026-03-02 12:00:00 UTC" in found.said
    assert (found.runbook, found.since) == (BEHIND_RUNBOOK, NOON)


@pytest.mark.parametrize(
    "now",
    [
        replace(DEAD, silence=20.0),  # the server was restarted, or a process begins
        replace(RUNNING, commit_age=40_000.0),  # a quiet night
        replace(RUNNING, lag={"labs": {"0": 90_000}}),  # a batch is on its way: nothing waits for long
        replace(RUNNING, stalled=200.0),  # nothing waits
        replace(RUNNING, lag={}),  # the broker does not answer for a moment
        replace(BEHIND, request_age=200.0),  # started a moment ago: what came while it stood still is being read
        replace(BEHIND, lag={"labs": {"0": 0}}),
        replace(BEHIND, lag={}),
        replace(RUNNING, state="starting", age=60.0),
        replace(RUNNING, since_restart=False, request_age=60.0),
        replace(LOOP, recent_starts=3),
        replace(LOOP, committed_since_fourth_start=True),
        replace(LOOP, state="running", age=200.0),  # it has settled; there was nothing to commit
        replace(RUNNING, fruitless_starts=3),  # over: the present one commits
        replace(RUNNING, fruitless_starts=3, has_committed=False),  # nothing waits
        replace(RUNNING, desired="stopped", wanted=False, request_age=20.0),
        replace(RUNNING, desired="drained", wanted=False, commit_age=2.0),  # the last batch of a long drain
        DRAINING,
        replace(STOPPED, waiting_age=None, silence=9000.0),
    ],
)
def test_no_false_alarm(now):
    assert codes(now) == []


ages = st.none() | st.floats(0, 1e6)


@given(
    st.sampled_from([*AS_ASKED, DRAINING, DEAD, FROZEN, LOOP, BEHIND]),
    st.fixed_dictionaries(
        {},
        optional={
            "state": st.sampled_from(["starting", "running", "stopping", "stopped", "failed"]),
            "sessions": st.integers(0, 4),
            "leased": st.booleans(),
            "heartbeat_age": ages,
            "waiting_age": ages,
            "silence": st.floats(0, 1e6),
            "driver_silence": st.floats(0, 1e6),
            "request_age": st.floats(0, 1e6),
            "recent_starts": st.integers(0, 10),
            "fruitless_starts": st.integers(0, 10),
            "batches": st.integers(0, 12),
        },
    ),
)
def test_what_is_reached_is_never_hopeless_and_always_said(now: Situation, facts: dict[str, Any]):
    found = judge(replace(now, **facts))
    assert not (found.reached and found.hopeless)
    assert found.seen and found.advice
    for fault in look_for_faults(replace(now, **facts), FRESHNESS):
        assert fault.said and fault.runbook.startswith("docs/runbooks/")


def test_when_a_driver_leaves():
    turn = Turn("running", 3, "somebody", NOON, None, wanted=True)
    assert turn.ends(began_under=3) is None
    assert turn.ends(began_under=2) == "restart as asked by somebody"
    assert replace(turn, desired="stopped", wanted=False).ends(3) == "stopped as asked by somebody"
