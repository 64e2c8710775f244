"""Putting messages on Kafka: a backlog as fast as it goes, by Wardstream's own publisher; or at a rate, remembering
when each was produced."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError
from confluent_kafka import Message as Delivered

from benchmarks.messages import KEYS, Message
from wardstream.contracts.codec import Encoder
from wardstream.contracts.model import load_contracts
from wardstream.kafka.broker import Broker
from wardstream.kafka.client import producer
from wardstream.kafka.publish import DeliveryFailed, Publisher
from wardstream.registry.client import schema_id
from wardstream.settings import Settings

FLUSH_SECONDS = 60.0


@dataclass(frozen=True)
class Extent:
    """Offsets of a topic's one partition: [start, end), and how many different keys its events have."""

    topic: str
    start: int
    end: int
    keys: int = 0

    @property
    def count(self) -> int:
        """Messages."""
        return self.end - self.start


@dataclass
class Published:
    """What was put on Kafka."""

    extents: list[Extent]
    seconds: float

    @property
    def count(self) -> int:
        """Messages of all topics."""
        return sum(extent.count for extent in self.extents)


def ends(settings: Settings) -> dict[str, int]:
    """Where each topic ends now. Topics of the benchmark's stack have one partition."""
    extents = Broker(settings, load_contracts(settings.schemas_dir)).extents()
    assert all(extent.partition == 0 for extent in extents), "the benchmark reads one partition a topic"
    return {extent.topic: extent.end for extent in extents}


def backlog(settings: Settings, messages: Iterable[Message]) -> Published:
    """Publish as fast as it goes; DeliveryFailed where one is not acknowledged."""
    before, began = ends(settings), time.monotonic()
    keys: dict[str, set[int]] = {}
    counts: Counter[str] = Counter()

    def counted() -> Iterator[Message]:
        for topic, event in messages:
            keys.setdefault(topic, set()).add(hash(event[KEYS[topic]]))
            counts[topic] += 1
            yield topic, event

    with Publisher(settings) as publisher:
        for topic, event in counted():
            publisher.send(topic, event)
    seconds, after = time.monotonic() - began, ends(settings)
    found = [Extent(topic, before[topic], after[topic], len(keys[topic])) for topic in sorted(counts)]
    for extent in found:
        if extent.count != counts[extent.topic]:
            raise DeliveryFailed(f"{extent.topic}: {counts[extent.topic]} sent, {extent.count} on the topic")
    return Published(found, seconds)


@dataclass
class Paced:
    """Events that were sent at a rate: offset and moment of produce() in seconds since 1970, of one topic."""

    topic: str
    produced: list[tuple[int, float]] = field(default_factory=list)

    @property
    def achieved(self) -> float:
        """Events a second."""
        times = [at for _, at in self.produced]
        span = max(times) - min(times)
        return (len(times) - 1) / span if span else 0.0


class PacedSender:
    """Sends events of one topic one by one, with a short linger, and remembers when. Close it to have all of them."""

    def __init__(self, settings: Settings, topic: str) -> None:
        contract = load_contracts(settings.schemas_dir)[topic]
        self._encoder = Encoder(contract.latest, schema_id(settings, contract.subject, contract.latest))
        self._failed: Counter[str] = Counter()
        self._sent = 0
        self.result = Paced(topic)
        options = {"acks": "all", "enable.idempotence": True, "linger.ms": 2, "compression.type": "lz4"}
        self._producer = producer(settings, lambda error: None, **options)

    def encoded(self, event: dict[str, Any], later: float = 0.0) -> tuple[bytes, bytes]:
        """Key and value of an event, whose times become those of now, or of so many seconds later."""
        at = int((time.time() + later) * 1e6)
        return event["patient_id"].encode(), self._encoder.encode({**event, "event_time": at, "recorded_at": at})

    def send(self, message: tuple[bytes, bytes]) -> None:
        """One message, and note when."""
        at = time.time()

        def report(error: KafkaError | None, delivered: Delivered) -> None:
            if error is None:
                self.result.produced.append((delivered.offset(), at))
            else:
                self._failed[error.name()] += 1

        key, value = message
        self._producer.produce(self.result.topic, value, key=key, on_delivery=report)
        self._sent += 1

    def wait_until(self, moment: float) -> None:
        """Serve the producer until a moment of `time.monotonic`; at least once."""
        while True:
            left = moment - time.monotonic()
            self._producer.poll(min(max(left, 0), 0.01))
            if left <= 0:
                return

    def close(self) -> Paced:
        """Wait for all acknowledgements; DeliveryFailed where one did not come."""
        left = self._producer.flush(FLUSH_SECONDS)
        if left or self._failed or len(self.result.produced) != self._sent:
            raise DeliveryFailed(f"{self.result.topic}: {left} waiting, failed: {dict(self._failed)}")
        self.result.produced.sort()
        return self.result


def at_rate(settings: Settings, messages: Iterable[Message], rate: float) -> Paced:
    """Send labs at so many a second. They are encoded beforehand, which would take CPU from what is measured."""
    sender = PacedSender(settings, "labs")
    ready = [sender.encoded(event, number / rate) for number, (_, event) in enumerate(messages)]
    began = time.monotonic()
    for number, message in enumerate(ready):
        sender.wait_until(began + number / rate)
        sender.send(message)
    return sender.close()
