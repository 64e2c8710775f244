"""What the broker says of topics: their ids, their partitions, and where each partition begins and ends.

Ends are those a read_committed reader can reach (the last stable offset), as everywhere in Wardstream; `held` says what
lies behind them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

HANGS_AFTER = timedelta(seconds=60)
HELD_RUNBOOK = "events-behind-an-open-transaction.md"
Partition = tuple[str, int]  # topic name, partition number


class TopicMissing(Exception):
    """A topic with a contract is not on the broker."""


@dataclass(frozen=True)
class Extent:
    """The offsets of one partition that can be read: [start, end)."""

    topic: str
    topic_id: str
    partition: int
    start: int
    end: int


@dataclass(frozen=True)
class Held:
    """Offsets [start, end) of a partition that are appended and cannot be read: `start` begins an open transaction.

    A transaction that aborts or commits frees them; its producer may never do so.
    """

    topic: str
    partition: int
    start: int
    end: int
    since: datetime
    """When the first of them was appended."""

    @property
    def hangs(self) -> bool:
        """Whether it is open for longer than an ordinary transaction takes."""
        return datetime.now(UTC) - self.since > HANGS_AFTER

    def __str__(self) -> str:
        return (
            f"topic {self.topic} partition {self.partition}: {self.end - self.start} events (offsets {self.start} to"
            f" {self.end}) are held behind a transaction that is open since {self.since:%Y-%m-%d %H:%M:%S} UTC"
        )


class Broker:
    """Asks one broker about a fixed set of topics. Errors are KafkaException; each call takes at most 15 s."""

    def __init__(self, bootstrap_servers: str, topics: Iterable[str]) -> None:
        self.topics = sorted(topics)
        self._bootstrap_servers = bootstrap_servers
        # The client is kept: the futures of its calls die with it.
        self._admin = AdminClient({"bootstrap.servers": bootstrap_servers, "socket.timeout.ms": 10_000, "log_level": 2})

    def _describe(self, missing_ok: bool = False) -> Mapping[str, tuple[str, int]]:
        described = self._admin.describe_topics(TopicCollection(self.topics), request_timeout=15)
        found = {}
        for topic, future in described.items():
            try:
                description = future.result()
            except KafkaException as error:
                if error.args[0].name() == "UNKNOWN_TOPIC_OR_PART":
                    if missing_ok:
                        continue
                    raise TopicMissing(f"topic {topic} is not on the broker; run `wardstream up`") from None
                raise
            found[topic] = (str(description.topic_id), len(description.partitions))
        return found

    def topic_ids(self) -> dict[str, str]:
        """Kafka's id of each topic, by name."""
        return {topic: topic_id for topic, (topic_id, _) in self._describe().items()}

    def extents(self, missing_ok: bool = False) -> list[Extent]:
        """Every partition of every topic with its first offset and its end; `missing_ok`: of the topics there are."""
        described = self._describe(missing_ok)
        partitions = [(topic, p) for topic, (_, number) in described.items() for p in range(number)]
        starts = self._offsets(partitions, OffsetSpec.earliest())
        ends = self._offsets(partitions, OffsetSpec.latest())
        return [Extent(t, described[t][0], p, starts[t, p], ends[t, p]) for t, p in sorted(partitions)]

    def offsets_at(self, extents: Iterable[Extent], times: Mapping[Partition, int]) -> dict[Partition, int]:
        """The first offset that was appended at or after its partition's time (ms since 1970); its end where none was.

        It can be the offset of a transaction's marker.
        """
        ends = {(e.topic, e.partition): e.end for e in extents if (e.topic, e.partition) in times}
        asked = {TopicPartition(t, p): OffsetSpec.for_timestamp(times[t, p]) for t, p in ends}
        if not asked:
            return {}
        futures = self._admin.list_offsets(asked, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=15)
        found = {(at.topic, at.partition): int(future.result().offset) for at, future in futures.items()}
        return {at: offset if offset >= 0 else ends[at] for at, offset in found.items()}

    def held(self) -> list[Held]:
        """What is held back behind open transactions, of the topics there are, by topic and partition."""
        partitions = [
            (topic, p) for topic, (_, number) in self._describe(missing_ok=True).items() for p in range(number)
        ]
        # In this order: what is appended in between makes the second answer greater, and so never looks held.
        ends = self._offsets(partitions, OffsetSpec.latest(), IsolationLevel.READ_UNCOMMITTED)
        readable = self._offsets(partitions, OffsetSpec.latest())
        found = []
        for at in sorted(at for at in partitions if readable[at] < ends[at]):
            first = self.first_message(at, readable[at], "read_uncommitted")
            if first is not None:
                found.append(Held(*at, readable[at], ends[at], datetime.fromtimestamp(first[1] / 1000, UTC)))
        return found

    def first_message(self, at: Partition, offset: int, isolation: str = "read_committed") -> tuple[int, int] | None:
        """Offset and time of appending (ms since 1970) of the first message from an offset on; None where none is."""
        options = {"group.id": "wardstream", "enable.auto.commit": False, "enable.partition.eof": True, "log_level": 2}
        options["isolation.level"] = isolation
        consumer = Consumer({"bootstrap.servers": self._bootstrap_servers, **options})
        try:
            consumer.assign([TopicPartition(*at, offset)])
            message = consumer.poll(15.0)
            if message is None:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            return None if error is not None else (message.offset(), message.timestamp()[1])
        finally:
            consumer.close()

    def _offsets(
        self,
        partitions: list[Partition],
        spec: OffsetSpec,
        isolation: IsolationLevel = IsolationLevel.READ_COMMITTED,
    ) -> dict[Partition, int]:
        asked = {TopicPartition(topic, partition): spec for topic, partition in partitions}
        if not asked:
            return {}
        futures = self._admin.list_offsets(asked, isolation_level=isolation, request_timeout=15)
        return {(at.topic, at.partition): int(future.result().offset) for at, future in futures.items()}
