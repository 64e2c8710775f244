"""A stream that lives and does nothing ends by itself, and its successor gets on with smaller batches."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from tests.e2e.hospital import Hospital, wait_for
from wardstream import stack
from wardstream.kafka.publish import Publisher

TEXT = "x" * 1900
START = datetime(2026, 10, 1, tzinfo=UTC)


@pytest.fixture
def ward(hospital: Hospital) -> Iterator[Hospital]:
    """Little memory, batches that do not fit into it, and little patience."""
    own = Hospital(
        hospital.settings.model_copy(
            update={"stream_driver_memory": "480m", "stream_max_offsets": 200_000, "stream_stall_seconds": 90.0}
        )
    )
    own.empty()
    yield own
    stack.stop_part(own.settings, "stream")
    stack.start_part(hospital.settings, "stream")


def generation(ward: Hospital) -> int:
    return int(ward.rows("SELECT generation FROM ops.streams")[0][0])


def publish(ward: Hospital, count: int, text: str) -> None:
    with Publisher(ward.settings) as publisher:
        for n in range(count):
            at = START + timedelta(seconds=n)
            publisher.send(
                "labs",
                {
                    "event_id": f"large-{n}",
                    "kind": "resulted",
                    "event_time": at,
                    "recorded_at": at,
                    "source_seq": n,
                    "source": "test",
                    "patient_id": f"P{n % 100}",
                    "lab_result_id": f"L{n}",
                    "value_text": text,
                },
            )


@pytest.mark.campaign
@pytest.mark.timeout(1500)
def test_out_of_memory(ward: Hospital):
    """200,000 events of 2 kB in one batch and a heap of 480 MB; then a tenth of that, and a hundredth."""
    ward.must("stream", "stop")
    publish(ward, 150_000, TEXT)
    before = generation(ward)
    ward.must("stream", "start", "--no-wait")
    wait_for("all of them", lambda: ward.committed() >= ward.published(), 900)
    assert generation(ward) > before + 1, "it fitted: the test provokes nothing"
    largest = ward.rows("SELECT max(received) FROM ops.ledger_ranges")[0][0]
    assert largest <= 20_000, "a tenth of a full batch, or less"
    ward.verified()


@pytest.mark.campaign
def test_a_jvm_that_hangs(ward: Hospital):
    """It has its process, its session and its heartbeat, and only that nothing comes tells."""
    wait_for("a driver", lambda: ward.rows("SELECT state FROM ops.streams") == [("running",)])
    publish(ward, 1, "before")
    ward.caught_up()
    before = generation(ward)
    driver = psutil.Process(stack.pids(ward.settings)["stream"])
    jvm = next(child for child in driver.children(recursive=True) if "java" in child.name())
    os.kill(jvm.pid, signal.SIGSTOP)
    publish(ward, 50, "after")
    wait_for("the next driver", lambda: generation(ward) > before)
    ward.caught_up()
    assert not psutil.pid_exists(jvm.pid)
    ward.verified()
