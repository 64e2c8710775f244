"""What Kafka lost, found and accepted: each kind on a real log, with the ledger as a stream would have left it."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.e2e.hospital import wait_for
from wardstream.contracts.model import Contract
from wardstream.database.connection import Connection, connect
from wardstream.kafka.broker import Broker, Extent
from wardstream.kafka.client import Admin
from wardstream.kafka.topics import create_topics
from wardstream.settings import Settings
from wardstream.stream import gaps
from wardstream.stream.commit import BrokerChanged
from wardstream.stream.start import open_ledger

TOPIC = "diagnoses"


@dataclass
class Log:
    """The one partition of a topic, recreated, and its row of the ledger."""

    settings: Settings
    admin: AdminClient
    broker: Broker
    conn: Connection

    def append(self, number: int = 10, transactional: bool = False) -> None:
        """Messages, each some milliseconds after the one before it."""
        options = {"transactional.id": "test"} if transactional else {}
        producer = Producer({"bootstrap.servers": self.settings.kafka, **options})
        if transactional:
            producer.init_transactions()
            producer.begin_transaction()
        for _ in range(number):
            producer.produce(TOPIC, b"a message")
            assert producer.flush(30) == 0
            time.sleep(0.005)
        if transactional:
            producer.commit_transaction()

    @property
    def extent(self) -> Extent:
        return next(e for e in self.broker.extents() if e.topic == TOPIC)

    def time_of(self, offset: int) -> datetime:
        """When the message at an offset was appended, as Spark reads it."""
        found = self.broker.first_message((TOPIC, 0), offset)
        assert found is not None and found[0] == offset
        return datetime.fromtimestamp(found[1] / 1000, UTC)

    def committed(self, next_offset: int, newest: datetime | None, topic_id: str | None = None) -> None:
        """The ledger as after a commit up to an offset."""
        self.conn.execute("DELETE FROM ops.ledger WHERE topic = %s", [TOPIC])
        self.conn.execute(
            "INSERT INTO ops.ledger (topic_id, partition, topic, next_offset, newest) VALUES (%s, 0, %s, %s, %s)",
            [topic_id or self.extent.topic_id, TOPIC, next_offset, newest],
        )

    def begin(self) -> int:
        """Where a stream would begin to read; BrokerChanged where it would not."""
        extents = self.broker.extents()
        return open_ledger(self.conn, extents, gaps.written_over(self.conn, self.broker, extents))[TOPIC, 0]

    def refused(self) -> str:
        with pytest.raises(BrokerChanged) as refusal:
            self.begin()
        return str(refusal.value)

    def accept(self) -> list[tuple[int, int | None, str]]:
        """Accept what is lost; the rows of ops.gaps."""
        gaps.accept(self.settings, gaps.find(self.settings), "a test took it away", "tester@test")
        assert gaps.find(self.settings) == []
        return self.conn.execute("SELECT start_offset, end_offset, accepted_by FROM ops.gaps").fetchall()


@pytest.fixture
def log(settings: Settings, contracts: dict[str, Contract]) -> Iterator[Log]:
    admin = Admin(settings)
    broker = Broker(settings, contracts)

    def anew() -> None:
        admin.delete_topics([TOPIC])[TOPIC].result(30)
        wait_for("the topic to go", lambda: TOPIC not in admin.list_topics(timeout=15).topics)
        create_topics(settings)

    anew()
    with connect(settings.owner_url, "test") as conn:
        try:
            yield Log(settings, admin, broker, conn)
        finally:
            conn.execute("TRUNCATE ops.ledger, ops.gaps")
            anew()


def test_nothing_is_lost(log: Log):
    log.append()
    log.committed(0, None)
    assert log.begin() == 0, "nothing was committed yet"
    for offset in (1, 4, 10):
        log.committed(offset, log.time_of(offset - 1))
        assert log.begin() == offset
    assert gaps.find(log.settings) == []


def test_a_marker_of_a_transaction_is_no_younger_message(log: Log):
    log.append(transactional=True)
    wait_for("ten messages and the marker", lambda: log.extent.end == 11)
    newest = log.time_of(9)
    log.committed(11, newest)
    first = log.broker.offsets_at([log.extent], {(TOPIC, 0): round(newest.timestamp() * 1000) + 1})
    assert first == {(TOPIC, 0): 10}, "the marker looks like one, or this test shows nothing"
    assert log.begin() == 11
    log.append(2)
    assert log.begin() == 11


def test_a_log_that_was_put_back_and_written_on_is_read_again(log: Log):
    log.append()
    log.committed(8, log.time_of(4))  # of the messages before offset 8 three are younger than all that was committed
    said = log.refused()
    assert "topic diagnoses partition 0: committed up to offset 8, but the broker's log has younger messages" in said
    retired = log.extent.topic_id
    assert log.accept() == [(8, None, "tester@test")]
    assert log.begin() == 0
    ids = [topic_id for (topic_id,) in log.conn.execute("SELECT topic_id FROM ops.ledger WHERE topic = %s", [TOPIC])]
    assert sorted(ids)[0] == retired and sorted(ids)[1].startswith(f"{retired}~")


def test_a_log_that_was_put_back_is_read_again(log: Log):
    log.append()
    log.committed(11, log.time_of(9))
    assert "committed up to offset 11, but the broker's log ends at 10" in log.refused()
    assert log.accept() == [(11, None, "tester@test")]
    assert log.begin() == 0


def test_what_retention_took_is_passed_over(log: Log):
    log.append()
    log.committed(4, log.time_of(3))
    log.admin.delete_records([TopicPartition(TOPIC, 0, 7)])[TopicPartition(TOPIC, 0)].result(30)
    assert "the broker's log begins at 7: offsets 4 to 7 are lost" in log.refused()
    assert log.accept() == [(4, 7, "tester@test")]
    assert log.begin() == 7


def test_a_topic_that_was_made_again_is_read_from_its_beginning(log: Log):
    log.append()
    log.committed(4, log.time_of(3), topic_id="the one before")
    assert "committed up to offset 4 of topic id the one before" in log.refused()
    assert log.accept() == [(4, None, "tester@test")]
    assert log.begin() == 0


def test_what_was_not_shown_is_not_accepted(log: Log):
    log.append()
    log.committed(11, None)
    shown = gaps.find(log.settings)
    log.committed(12, None)
    with pytest.raises(gaps.Changed):
        gaps.accept(log.settings, shown, "seen before it changed", "tester@test")
    assert log.conn.execute("SELECT count(*) FROM ops.gaps").fetchone() == (0,)
