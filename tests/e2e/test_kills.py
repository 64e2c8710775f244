"""kill -9 of every process in turn during a replay: nothing lost, nothing twice, the same digest as undisturbed.

Two of the kills are placed exactly, without a hook in the product: a lock on ops.ledger_ranges, which a commit
writes last, holds the stream inside its open transaction with rows already in history; and a JVM stopped by SIGSTOP
cannot write Spark's log of what is done while Python, which needs no JVM for it, commits to PostgreSQL.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from tests.e2e.hospital import Hospital, wait_for
from wardstream import stack

PACE = 20  # events a second: the sample then takes five minutes, longer than all kills and recoveries of a round
# Seen without rights on other roles' sessions, unlike pg_stat_activity.
COMMITTING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'ops.ledger_ranges'::regclass"


def stream_pid(hospital: Hospital) -> int:
    return int(wait_for("a stream process", lambda: stack.pids(hospital.settings).get("stream")))


def jvm(hospital: Hospital) -> psutil.Process:
    def find() -> psutil.Process | None:
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(stream_pid(hospital)).children(recursive=True)
            return next((child for child in children if "java" in child.name()), None)
        return None

    found = wait_for("the stream's JVM", find)
    assert isinstance(found, psutil.Process)
    return found


@contextlib.contextmanager
def held_at_the_end_of_a_commit(hospital: Hospital) -> Iterator[None]:
    """Inside: a commit of the stream has stored its rows and cannot finish."""
    with hospital.connect() as conn, conn.transaction():
        conn.execute("LOCK TABLE ops.ledger_ranges IN ACCESS EXCLUSIVE MODE")
        wait_for("the stream to wait inside a commit", lambda: conn.execute(COMMITTING).fetchone() == (1,))
        yield


def kill_python(hospital: Hospital) -> None:
    os.kill(stream_pid(hospital), signal.SIGKILL)


def kill_jvm(hospital: Hospital) -> None:
    jvm(hospital).kill()


def kill_broker(hospital: Hospital) -> None:
    os.kill(stack.pids(hospital.settings)["kafka"], signal.SIGKILL)


def kill_postgres(hospital: Hospital) -> None:
    os.kill(stack.pids(hospital.settings)["postgres"], signal.SIGKILL)


def kill_inside_the_open_transaction(hospital: Hospital) -> None:
    before = hospital.committed()
    with held_at_the_end_of_a_commit(hospital):
        os.kill(stream_pid(hospital), signal.SIGKILL)
        wait_for(
            "PostgreSQL to end the dead driver's transaction",
            lambda: hospital.rows(COMMITTING) == [(0,)],
        )
        assert hospital.committed() == before, "the killed transaction must leave no trace"


def kill_where_spark_is_behind(hospital: Hospital) -> None:
    """PostgreSQL has a batch of which Spark's log does not say so. Spark waits with the next batch for a commit that is
    held: stopped there, it never hears what became of it."""
    for _ in range(10):
        with held_at_the_end_of_a_commit(hospital):
            wait_for("Spark to plan the next batch", lambda: planned(hospital))
            time.sleep(1)  # Python has it, too, before Spark's JVM is stopped
            frozen = jvm(hospital)
            frozen.suspend()
        with contextlib.suppress(AssertionError):
            wait_for("PostgreSQL to be ahead of Spark's log", lambda: is_ahead_of_spark(hospital), seconds=5)
            break
        frozen.resume()
    assert is_ahead_of_spark(hospital)
    python = stream_pid(hospital)
    frozen.kill()
    os.kill(python, signal.SIGKILL)


def planned(hospital: Hospital) -> list[dict[str, dict[str, int]]]:
    """The ends, by topic and partition, of batches that Spark's log has as planned and not as done."""
    found = []
    for topic in (hospital.settings.scratch_dir / "checkpoints-main").iterdir():
        done = {path.name for path in topic.glob("commits/[0-9]*")}
        found += [
            json.loads(path.read_text().splitlines()[2])
            for path in topic.glob("offsets/[0-9]*")
            if path.name not in done
        ]
    return found


def is_ahead_of_spark(hospital: Hospital) -> bool:
    ledger = {
        (topic, str(p)): end for topic, p, end in hospital.rows("SELECT topic, partition, next_offset FROM ops.ledger")
    }
    return any(
        all(ledger[topic, p] >= end for topic, ends in batch.items() for p, end in ends.items())
        for batch in planned(hospital)
    )


KILLS: list[Callable[[Hospital], None]] = [
    kill_python,
    kill_jvm,
    kill_broker,
    kill_postgres,
    kill_inside_the_open_transaction,
    kill_where_spark_is_behind,
]


BRIEFLY: list[Callable[[Hospital], None]] = [kill_broker, kill_inside_the_open_transaction, kill_where_spark_is_behind]


def run_round(hospital: Hospital, events: int, kills: list[Callable[[Hospital], None]]) -> None:
    """A replay paced to outlast all kills; each kill is followed by progress before the next.

    Then what the slow replay has not sent yet is sent by a fast one; what both sent are duplicates.
    """
    replay = hospital.begin("replay", "sample", "--pace", str(PACE))
    try:
        wait_for("the first commit", lambda: hospital.committed() > 0)
        for kill in kills:
            before = hospital.committed()
            assert before < events, f"{kill.__name__}: nothing was left to lose"
            kill(hospital)
            at_kill = hospital.committed() if kill is not kill_postgres else before
            wait_for(f"a commit after {kill.__name__}", lambda at_kill=at_kill: _committed(hospital) > at_kill)  # type: ignore[misc]
            assert replay.poll() is None, f"{kill.__name__}: the replay ended before the kills did"
    finally:
        replay.kill()
        replay.communicate()
    hospital.must("replay", "sample")
    assert hospital.published() > events


def _committed(hospital: Hospital) -> int:
    try:
        return hospital.committed()
    except Exception as error:  # noqa: BLE001 - PostgreSQL may be on its way back
        assert type(error).__module__.startswith("psycopg")
        return -1


@pytest.fixture(scope="module")
def undisturbed(hospital: Hospital) -> tuple[int, dict[str, str]]:
    """Number of events and digest of the sample without any kill."""
    hospital.empty()
    hospital.must("replay", "sample")
    report = hospital.verified()
    return sum(tally.received for tally in report.tallies), hospital.digest()


def test_a_short_round(hospital: Hospital, undisturbed: tuple[int, dict[str, str]]) -> None:
    events, digest = undisturbed
    hospital.empty()
    run_round(hospital, events, BRIEFLY)
    done = hospital.cli("verify", "--wait", "120")
    assert done.returncode == 0, done.stdout + done.stderr
    assert hospital.digest() == digest


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_three_rounds(hospital: Hospital, undisturbed: tuple[int, dict[str, str]]) -> None:
    events, digest = undisturbed
    for _ in range(3):
        hospital.empty()
        run_round(hospital, events, KILLS)
        hospital.verified()
        assert hospital.digest() == digest


def test_an_orderly_stop_finishes_its_batch(hospital: Hospital) -> None:
    """SIGTERM: the process ends with exit code 0 by itself, and its JVM with it."""
    wait_for("a running stream", lambda: hospital.rows("SELECT state FROM ops.streams") == [("running",)])
    java = jvm(hospital)
    stack.stop_part(hospital.settings, "stream")
    assert hospital.rows("SELECT state FROM ops.streams") == [("stopped",)]
    assert not java.is_running()
    stack.start_part(hospital.settings, "stream")


def test_no_child_is_left(hospital: Hospital) -> None:
    """After all these kills there is one stream with one JVM."""
    marker = str(hospital.settings.state_dir)
    drivers = [p for p in psutil.process_iter() if _is_driver(p, marker)]
    assert len(drivers) == 1, [p.pid for p in drivers]


def _is_driver(process: psutil.Process, marker: str) -> bool:
    with contextlib.suppress(psutil.Error, subprocess.SubprocessError):
        return "spark_jobs.stream" in " ".join(process.cmdline()) and marker in str(process.environ())
    return False
