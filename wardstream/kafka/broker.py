"""What the broker says of topics: their ids, their partitions, and where each partition begins and ends.

Ends are those a read_committed reader can reach (the last stable offset), as everywhere in Wardstream; `held` says what
lies behind them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import ConfigResource, OffsetSpec, ResourceType
from tenacity import retry, retry_if_exception, stop_after_delay, wait_fixed

from wardstream.kafka.client import Admin, Trouble, consumer, not_allowed
from wardstream.settings import Settings

HANGS_AFTER = timedelta(seconds=60)
HELD_RUNBOOK = "events-behind-an-open-transaction.md"
Partition = tuple[str, int]  # topic name, partition number

CLOCK, BROKERS_CLOCK = "message.timestamp.type", "LogAppendTime"
MEND = "`wardstream contracts topics --mend` sets it, for the messages from then on"


class TopicMissing(Exception):
    """A topic with a contract is not on the broker."""


class SendersClock(Exception):
    """A topic keeps the times that senders give (CreateTime), and not those at which the broker appended.

    Every rule against clocks that are ahead, and the search for logs that were restored, need the broker's clock.
    """


def has_no_leader_yet(error: BaseException) -> bool:
    """Whether this is how a broker answers for a moment after a topic was created, or after it was started."""
    codes = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)
    return isinstance(error, KafkaException) and error.args[0].code() in codes


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

    def __init__(self, settings: Settings, topics: Iterable[str]) -> None:
        self.topics = sorted(topics)
        self._settings = settings
        self._admin = Admin(settings)

    def _describe(self, missing_ok: bool = False) -> Mapping[str, tuple[str, int]]:
        described = self._admin.describe_topics(TopicCollection(self.topics), request_timeout=15)
        found = {}
        for topic, future in described.items():
            try:
                description = self._admin.answer(future, "Describe", f"topic {topic}")
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
        return {at: offset if offset >= 0 else ends[at] for at, offset in self._list(asked).items()}

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
        trouble = Trouble(self._settings)
        reader = consumer(self._settings, "look", trouble, **{"isolation.level": isolation})
        try:
            reader.assign([TopicPartition(*at, offset)])
            message = reader.poll(15.0)
            if message is None:
                raise trouble.explained(KafkaException(KafkaError(KafkaError._TIMED_OUT)))
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                raise not_allowed(self._settings, error, "Read", f"topic {at[0]}") or KafkaException(error)
            return None if error is not None else (message.offset(), message.timestamp()[1])
        finally:
            reader.close()

    def check_clock(self) -> None:
        """SendersClock, with the command that mends it, where a topic does not keep the time of appending."""
        asked = [ConfigResource(ResourceType.TOPIC, topic) for topic in self.topics]
        described = self._admin.describe_configs(asked, request_timeout=15)
        answers = {at.name: self._admin.answer(f, "DescribeConfigs", f"topic {at.name}") for at, f in described.items()}
        wrong = [topic for topic, config in answers.items() if config[CLOCK].value != BROKERS_CLOCK]
        if wrong:
            raise SendersClock(f"{CLOCK} of topic {', '.join(sorted(wrong))} is not {BROKERS_CLOCK}; {MEND}")

    def show_progress(self, offsets: Mapping[Partition, int]) -> None:
        """Commit these offsets to the consumer group of the settings, for Kafka's tools; nothing of ours reads them."""
        group = self._settings.kafka_group
        at = [TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()]
        asked = [ConsumerGroupTopicPartitions(group, at)]
        for future in self._admin.alter_consumer_group_offsets(asked, request_timeout=15).values():
            done = self._admin.answer(future, "Read", f"consumer group {group}")
            for one in done.topic_partitions:
                if one.error is not None:
                    missing = not_allowed(self._settings, one.error, "Read", f"topic {one.topic}")
                    raise missing or KafkaException(one.error)

    def _offsets(
        self,
        partitions: list[Partition],
        spec: OffsetSpec,
        isolation: IsolationLevel = IsolationLevel.READ_COMMITTED,
    ) -> dict[Partition, int]:
        return self._list({TopicPartition(topic, partition): spec for topic, partition in partitions}, isolation)

    @retry(retry=retry_if_exception(has_no_leader_yet), wait=wait_fixed(0.2), stop=stop_after_delay(10), reraise=True)
    def _list(
        self, asked: Mapping[TopicPartition, OffsetSpec], isolation: IsolationLevel = IsolationLevel.READ_COMMITTED
    ) -> dict[Partition, int]:
        if not asked:
            return {}
        futures = self._admin.list_offsets(dict(asked), isolation_level=isolation, request_timeout=15)
        found = {at: self._admin.answer(f, "Describe", f"topic {at.topic}") for at, f in futures.items()}
        return {(at.topic, at.partition): int(result.offset) for at, result in found.items()}
