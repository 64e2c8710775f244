"""What is on the topics, for people: extents and retention, and the last messages with personal fields masked.

Reads only. Whether it all arrived is `wardstream.proof`'s part; here a message that cannot be read is a line like any
other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import ConfigResource, ResourceType

from wardstream.contracts.codec import BadRecord, Decoder, split
from wardstream.contracts.model import Contract, load_contracts
from wardstream.contracts.validate import Validator
from wardstream.kafka.broker import Broker, Extent
from wardstream.kafka.client import Admin, Trouble, consumer, not_allowed
from wardstream.registry.client import SchemaSource
from wardstream.settings import Settings

MASK = "***"
OPEN = "internal"
"""The one classification of a contract whose values are shown: no personal data."""
_SILENCE_SECONDS = 10.0
_LONGEST = 60
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Seen:
    """One message: where it is, and what may be said of it without its patient's data."""

    partition: int
    offset: int
    time: datetime
    key: str
    """`patient_id` where the key is the event's, else what is wrong with it."""
    schema_id: int | None
    kind: str
    reason: str
    """Why the stream refuses it; empty where it does not."""
    fields: Mapping[str, str]
    """Every field with a value, by name; personal ones masked."""


def extents(settings: Settings) -> list[Extent]:
    """Where the partitions of all topics with a contract begin and end; a topic that is not there is left out."""
    return Broker(settings, load_contracts(settings.schemas_dir)).extents(missing_ok=True)


def retention_ms(settings: Settings, topics: list[str]) -> dict[str, int]:
    """How long Kafka keeps each of these topics, milliseconds; negative: for ever."""
    admin = Admin(settings)
    asked = [ConfigResource(ResourceType.TOPIC, topic) for topic in topics]
    answers = admin.describe_configs(asked, request_timeout=15) if asked else {}
    return {
        at.name: int(admin.answer(answer, "DescribeConfigs", f"topic {at.name}")["retention.ms"].value)
        for at, answer in answers.items()
    }


def last_messages(settings: Settings, contract: Contract, count: int) -> list[Seen]:
    """The last messages of a topic, the newest last; TopicMissing, KafkaException, RegistryUnavailableError."""
    reader = _Reader(settings, contract)
    found = [
        message for extent in Broker(settings, [contract.topic]).extents() for message in _read(settings, extent, count)
    ]
    found.sort(key=lambda message: (message.timestamp()[1], message.partition(), message.offset()))
    return [reader(message) for message in found[-count:]]


def _read(settings: Settings, extent: Extent, count: int) -> list[Message]:
    """A partition's last messages; markers of transactions take up offsets, so there may be fewer than `count`."""
    if extent.end <= extent.start:
        return []
    trouble = Trouble(settings)
    reader = consumer(settings, "look", trouble)
    found: list[Message] = []
    try:
        reader.assign([TopicPartition(extent.topic, extent.partition, max(extent.start, extent.end - count))])
        while True:
            message = reader.poll(_SILENCE_SECONDS)
            if message is None:
                raise trouble.explained(KafkaException(KafkaError(KafkaError._TIMED_OUT)))
            error = message.error()
            if error is None and message.offset() < extent.end:
                found.append(message)
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                raise not_allowed(settings, error, "Read", f"topic {extent.topic}") or KafkaException(error)
            if error is not None or message.offset() >= extent.end - 1:
                return found
    finally:
        reader.close()


class _Reader:
    """Messages of one topic to what may be shown of them."""

    def __init__(self, settings: Settings, contract: Contract) -> None:
        self._contract = contract
        self._source = SchemaSource(settings)
        self._validate = Validator(contract)
        self._decoders: dict[int, Decoder] = {}
        self._show = {field.name: _shown(contract, field.name, field.type) for field in contract.fields}

    def __call__(self, message: Message) -> Seen:
        milliseconds = message.timestamp()[1]
        schema_id, event, reason = None, {}, ""
        try:
            schema_id, body = split(message.value())
            event = self._decoder(schema_id).decode(body)
            reason = self._validate(event, milliseconds * 1000) or ""
        except BadRecord as error:
            reason = error.reason
        return Seen(
            message.partition(),
            message.offset(),
            _EPOCH + timedelta(milliseconds=milliseconds),
            _key(message.key(), event),
            schema_id,
            self._kind(event),
            reason,
            {n: self._show.get(n, _masked)(v) for n, v in event.items() if v is not None},
        )

    def _decoder(self, schema_id: int) -> Decoder:
        if schema_id not in self._decoders:
            self._decoders[schema_id] = Decoder(self._source.lookup(schema_id, self._contract.topic).schema)
        return self._decoders[schema_id]

    def _kind(self, event: Mapping[str, Any]) -> str:
        """As sent where the contract knows it: another text may be anything."""
        kind = event.get("kind")
        return str(kind) if kind in self._contract.kinds else (MASK if kind else "")


def _key(key: bytes | None, event: Mapping[str, Any]) -> str:
    if not key:
        return "none"
    return "patient_id" if key == str(event.get("patient_id", "")).encode() else "not patient_id"


def _masked(_: Any) -> str:
    return MASK


def _shown(contract: Contract, name: str, kind: str) -> Callable[[Any], str]:
    """How a field's values are shown: only what the contract calls internal, as people write it."""
    allowed = contract.allowed.get(name)
    if contract.properties.get(name, {}).get("classification") != OPEN:
        return _masked
    if allowed is not None:  # a value that should not be there may be anything
        return lambda value: _plain(value) if value in allowed else MASK
    if kind == "timestamp-micros":
        return _time
    if kind == "date":
        return lambda days: (date(1970, 1, 1) + timedelta(days=days)).isoformat()
    return _plain


def _plain(value: Any) -> str:
    """On one line, and nothing in it that a terminal would follow."""
    text = str(value)
    cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return "".join(letter if letter.isprintable() else "?" for letter in cut)


def _time(microseconds: int) -> str:
    try:
        return (_EPOCH + timedelta(microseconds=microseconds)).isoformat()
    except OverflowError:
        return MASK
