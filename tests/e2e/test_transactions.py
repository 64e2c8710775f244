"""Producers with transactions: committed, aborted, and one that hangs and holds back everybody's events after it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from confluent_kafka import Producer

from tests.e2e.hospital import Hospital, wait_for
from tests.integration.alerts.conftest import serving_webhook
from wardstream.contracts.codec import Encoder
from wardstream.contracts.examples import load_examples
from wardstream.contracts.model import load_contracts
from wardstream.kafka import broker
from wardstream.proof.verify import verify
from wardstream.registry.client import schema_id
from wardstream.watch import findings
from wardstream.watch.alerts import tell

TIMEOUT_MS = 600_000  # of the transaction: it does not end by itself while the test runs


@pytest.fixture(scope="module")
def ward(hospital: Hospital) -> Hospital:
    """Empty tables and topics, and a stream at work."""
    hospital.empty()
    return hospital


@pytest.fixture
def labs(ward: Hospital) -> Iterator[bytes]:
    """Messages of topic labs, each a fact of its own."""
    contract = load_contracts(ward.settings.schemas_dir)["labs"]
    encoder = Encoder(contract.latest, schema_id(ward.settings, contract.subject, contract.latest))
    event = dict(next(load_examples(ward.settings.schemas_dir / "labs", contract)).event)

    def messages() -> Iterator[bytes]:
        for number in range(1_000_000):
            unique = f"{time.time_ns()}-{number}"
            yield encoder.encode({**event, "event_id": unique, "lab_result_id": unique})

    return messages()


def transactional(ward: Hospital, name: str) -> Producer:
    producer = Producer(
        {
            "bootstrap.servers": ward.settings.kafka,
            "transactional.id": name,
            "transaction.timeout.ms": TIMEOUT_MS,
        }
    )
    producer.init_transactions(30)
    return producer


def send(producer: Producer, labs: Iterator[bytes], number: int) -> None:
    for _ in range(number):
        producer.produce("labs", next(labs), key=b"p")
    assert producer.flush(30) == 0


def received(ward: Hospital) -> int:
    return int(ward.rows("SELECT coalesce(sum(received), 0) FROM ops.ledger_ranges")[0][0])


def test_committed_transactions_count_once_and_aborted_ones_not_at_all(ward: Hospital, labs: Iterator[bytes]):
    producer = transactional(ward, "registrar")
    for sent, commit in ((7, True), (5, False), (3, True), (4, False)):
        producer.begin_transaction()
        send(producer, labs, sent)
        if commit:
            producer.commit_transaction(30)
        else:
            producer.abort_transaction(30)
    ward.caught_up()
    report = ward.verified()
    assert received(ward) == 10
    [tally] = [tally for tally in report.tallies if tally.topic == "labs"]
    assert (tally.received, tally.stored) == (10, 10)
    assert tally.next_offset == 7 + 5 + 3 + 4 + 4, "the markers have offsets, too"
    assert ward.rows("SELECT count(*) FROM core.lab_results") == [(10,)]


HANGS = """
import sys, time
from confluent_kafka import Producer
server, timeout = sys.argv[1:]
p = Producer({"bootstrap.servers": server, "transactional.id": "hangs", "transaction.timeout.ms": int(timeout)})
p.init_transactions(30)
p.begin_transaction()
p.produce("labs", sys.stdin.buffer.read(), key=b"p")
assert p.flush(30) == 0
print("sent", flush=True)
time.sleep(3600)
"""


def test_a_transaction_that_hangs_is_said_and_told_and_ends_when_its_producer_comes_back(
    ward: Hospital, labs: Iterator[bytes]
):
    before = received(ward)
    hanging = subprocess.Popen(
        [sys.executable, "-c", HANGS, ward.settings.kafka, str(TIMEOUT_MS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert hanging.stdin is not None and hanging.stdout is not None
    hanging.stdin.write(next(labs))
    hanging.stdin.close()
    assert hanging.stdout.readline() == b"sent\n"
    hanging.kill()
    hanging.wait()
    begun = datetime.now(UTC)
    ordinary = Producer({"bootstrap.servers": ward.settings.kafka})
    send(ordinary, labs, 50)
    [held] = broker.Broker(ward.settings, ["labs", "patients"]).held()
    assert (held.topic, held.partition, held.end - held.start) == ("labs", 0, 51)
    assert abs(held.since - begun).total_seconds() < 30 and not held.hangs
    assert findings.transactions(ward.settings).found == [], "it may be an ordinary one"
    report = verify(ward.settings, 30)
    assert not report.findings and any("50 events" in note or "51 events" in note for note in report.notes)

    with serving_webhook() as hook:
        told = ward.settings.model_copy(update={"alert_webhook_url": hook.url})

        def look() -> int:
            tell(told, findings.transactions(told))
            return len(hook.got)

        wait_for("an alert", look, 300)
        took = (datetime.now(UTC) - begun).total_seconds()
        assert took < 180, "the DAG that looks every two minutes tells it within five"
        look()
        [alert] = hook.got
        assert alert["key"] == "open_transaction:labs/0"
        assert "topic labs partition 0: 51 events" in alert["what"]
        assert f"--topic labs --partition 0 --start-offset {held.start}" in alert["remedy"]
        assert alert["since"] == held.since.isoformat()

        seen = json.loads(ward.cli("status", "--json").stdout)
        assert {topic["topic"]: topic["lag"] for topic in seen["topics"]}["labs"] == 0, "and so lag says nothing of it"
        assert [one["code"] for one in seen["findings"]] == ["open_transaction:labs/0"]
        shown = " ".join(ward.cli("status").stdout.split())
        assert "51 events" in shown and "kafka-transactions.sh" in shown
        red = ward.cli("verify")
        assert red.returncode == 1 and "51 events" in red.stdout and received(ward) == before
        print(f"told {took:.0f} s after the transaction began to hang")

        transactional(ward, "hangs")  # the producer, started again: what it left open is aborted
        wait_for("the events behind it", lambda: received(ward) == before + 50)
        look()
        assert [(posted["key"], posted["state"]) for posted in hook.got[1:]] == [
            ("open_transaction:labs/0", "resolved")
        ]
    ward.verified()
    assert ward.rows("SELECT count(*) FROM core.lab_results") == [(before + 50,)]
