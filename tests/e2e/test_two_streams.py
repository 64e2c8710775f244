"""Two streams on one database: one writes, the other leaves with a clear line and stays away."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from tests.e2e.hospital import Hospital, wait_for
from tests.e2e.test_kills import held_at_the_end_of_a_commit, stream_pid
from tests.integration.stack.conftest import own_settings
from wardstream import stack
from wardstream.settings import Settings
from wardstream.stack import manager, parts, paths

AWAY_SECONDS = 60.0


@pytest.fixture(scope="module")
def ward(hospital: Hospital) -> Hospital:
    hospital.empty()
    return hospital


@pytest.fixture(scope="module")
def second(ward: Hospital, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A second Wardstream, say another clone, pointed at the first one's servers: it has a stream alone."""
    first = ward.settings
    settings = own_settings(
        tmp_path_factory.mktemp("second"),
        kafka_bootstrap_servers=first.kafka,
        schema_registry_url=first.registry,
        database_url=first.writer_url,
        owner_database_url=first.owner_url,
    )
    try:
        stack.start(settings, stream=False)
        yield settings
    finally:
        stack.stop(settings)
        paths.remove(settings)


def begin(settings: Settings) -> None:
    """Start the stream of a stack and do not wait for it."""
    manager.start(settings, "stream", parts.named("stream").launch(settings))


def process(settings: Settings) -> tuple[str, int]:
    """What the process manager says of the stream: its state, and its pid, 0 where it has none."""
    found = manager.states(settings)["stream"]
    return found.name, found.pid


def has_left(settings: Settings, *words: str) -> bool:
    """Whether the stream ended by itself and will not be started again, having said one of these in its log."""
    name, pid = process(settings)
    # Spark may say a lot after that line when its threads are stopped at work
    return (name, pid) == ("EXITED", 0) and any(word in "\n".join(lines(settings)) for word in words)


def lines(settings: Settings) -> list[str]:
    """All that the stream has said so far."""
    return manager.last_lines(settings, "stream", 10**6).splitlines()


def writer_pid(ward: Hospital) -> int:
    rows = ward.rows("SELECT pid FROM ops.streams WHERE state = 'running' AND heartbeat_at > now() - interval '5 s'")
    return int(rows[0][0]) if rows else 0


@pytest.mark.campaign
def test_of_two_that_start_at_once_one_stays(ward: Hospital, second: Settings) -> None:
    both = [ward.settings, second]
    for settings in both:
        stack.stop_part(settings, "stream")
    for settings in both:
        begin(settings)
    wait_for("one to leave", lambda: any(has_left(settings, "has a living driver") for settings in both))
    stays = next(settings for settings in both if not has_left(settings, "has a living driver"))
    leaves = next(settings for settings in both if settings is not stays)
    survivor = wait_for("the other one to run", lambda: writer_pid(ward))
    assert process(stays) == ("RUNNING", survivor)
    for commits in range(3):
        before = ward.committed()
        ward.must("replay", "sample", "--limit", str(500 * (commits + 1)))
        wait_for("a commit", lambda before=before: ward.committed() > before)  # type: ignore[misc]
    until = time.monotonic() + AWAY_SECONDS
    while time.monotonic() < until:
        assert has_left(leaves, "has a living driver") and process(stays) == ("RUNNING", survivor)
        time.sleep(0.5)
    ward.verified()


@pytest.mark.campaign
def test_a_stream_frozen_inside_a_commit_is_replaced_and_its_transaction_fails(
    ward: Hospital, second: Settings
) -> None:
    stack.stop_part(second, "stream")
    stack.stop_part(ward.settings, "stream")
    stack.start_part(ward.settings, "stream")
    frozen = stream_pid(ward)
    replay = ward.begin("replay", "sample", "--pace", "100")
    try:
        with held_at_the_end_of_a_commit(ward):
            before = ward.committed()
            os.kill(frozen, signal.SIGSTOP)
            said = lines(ward.settings)
        assert ward.committed() == before, "what it holds is not committed"
        begin(second)
        successor = wait_for(
            "the second one to take over", lambda: writer_pid(ward) not in (0, frozen) and writer_pid(ward)
        )
        assert process(second) == ("RUNNING", successor)
        wait_for("its successor to commit", lambda: ward.committed() > before)
    finally:
        os.kill(frozen, signal.SIGCONT)
        replay.kill()
        replay.communicate()
    wait_for("the frozen one to leave", lambda: has_left(ward.settings, "replaced"))
    failed = [line for line in lines(ward.settings)[len(said) :] if "; the batch is tried again" in line]
    assert failed, "its transaction was seen to fail"
    assert not ward.rows(
        "SELECT FROM ops.ledger_ranges WHERE generation < (SELECT generation FROM ops.streams)"
        " AND committed_at > (SELECT started_at FROM ops.streams)"
    )
    ward.must("replay", "sample")
    ward.verified()
    stack.stop_part(second, "stream")
    stack.start_part(ward.settings, "stream")
