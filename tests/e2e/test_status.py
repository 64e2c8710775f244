"""`wardstream status` and the stream's metrics beside a stream at work: the numbers are those of the ledger."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest

from tests.e2e.hospital import Hospital, wait_for
from tests.unit.stream.test_metrics import Samples, answer
from wardstream import stack

GIB = 2**30
KINDS = ("received", "stored", "duplicate", "quarantined")


@pytest.fixture(scope="module")
def ward(hospital: Hospital) -> Hospital:
    """An empty stack that took the sample."""
    hospital.empty()
    hospital.must("replay", "sample")
    hospital.caught_up()
    return hospital


def status(ward: Hospital) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(ward.cli("status", "--json").stdout)
    return plain


def scraped(ward: Hospital) -> Samples:
    return answer(ward.settings.metrics_port)


def of_the_ledger(ward: Hospital) -> dict[tuple[str, str], float]:
    rows = ward.rows(
        "SELECT l.topic, sum(r.received), sum(r.stored), sum(r.duplicate), sum(r.quarantined) FROM ops.ledger_ranges r"
        " JOIN ops.ledger l USING (topic_id, partition) GROUP BY l.topic"
    )
    return {(kind, topic): float(n) for topic, *counts in rows for kind, n in zip(KINDS, counts, strict=True)}


def test_the_parts_and_what_they_take(ward: Hospital):
    seen = status(ward)
    parts = {row["part"]: row for row in seen["parts"]}
    assert all(row["healthy"] for row in parts.values())
    assert parts["stream"]["port"] == ward.settings.metrics_port
    assert all(row["memory_bytes"] > 20 * 2**20 for row in parts.values())
    assert parts["stream"]["memory_bytes"] > 300 * 2**20, "its JVM as well"
    assert sum(row["memory_bytes"] for row in parts.values()) < seen["memory_bytes"] < 3.5 * GIB
    print(ward.must("status"))


def test_the_topics_are_told_as_the_ledger_has_them(ward: Hospital):
    wait_for("no lag", lambda: status(ward)["parts"][3]["lag"] == 0)
    seen = status(ward)
    assert [topic["topic"] for topic in seen["topics"]] == sorted({topic for _, topic in of_the_ledger(ward)})
    assert all(topic["lag"] == 0 and topic["last_commit_age_s"] >= 0 for topic in seen["topics"])


def test_prometheus_counts_what_the_ledger_counts(ward: Hospital):
    found = scraped(ward)
    assert found["wardstream_up", ""] == 1 and found["wardstream_stream_state", "running"] == 1
    counted = {(kind, topic): found[f"wardstream_events_{kind}_total", topic] for kind, topic in of_the_ledger(ward)}
    assert counted == of_the_ledger(ward)
    assert found["wardstream_part_memory_bytes", "stream"] > found["process_resident_memory_bytes", ""]
    assert {part for name, part in found if name == "wardstream_part_memory_bytes"} == {
        *stack.pids(ward.settings),
        "manager",
    }


def test_without_postgresql_it_still_answers(ward: Hospital):
    stack.stop_part(ward.settings, "postgres")
    wait_for("metrics that say so", lambda: scraped(ward).get(("wardstream_up", "")) == 0)
    stack.start_part(ward.settings, "postgres")
    wait_for("all of it again", lambda: scraped(ward).get(("wardstream_stream_healthy", "")) == 1)


def test_a_killed_stream_serves_again_and_counts_from_nothing(ward: Hospital):
    before = scraped(ward)["wardstream_stream_generation", ""]
    os.kill(stack.pids(ward.settings)["stream"], signal.SIGKILL)
    found = wait_for(
        "the next one", lambda: (f := scraped(ward)).get(("wardstream_stream_generation", ""), 0) > before and f
    )
    assert found["wardstream_events_received_total", "labs"] == 0
    ward.verified()
