"""Publishing events to Kafka: Avro through the registry, keyed by patient, and no delivery error unheard.

The producer is idempotent with acks=all, so that its own retries neither lose nor double; it survives a broker that is
away for less than the timeout. Memory is bounded by the producer's queue: when it is full, `send` waits. Schemas are
looked up, never registered here.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, TopicCollection
from confluent_kafka.admin import AclOperation

from wardstream.contracts.codec import Encoder
from wardstream.contracts.model import ContractError, load_contracts
from wardstream.kafka.client import Admin, Trouble, not_allowed, producer
from wardstream.registry.client import schema_id
from wardstream.settings import Settings

log = logging.getLogger(__name__)

DEFAULT_TIMEOUT_SECONDS = 180.0
_QUEUE_MESSAGES = 50_000
_QUEUE_KBYTES = 64 * 1024
_GIVE_UP_SECONDS = 10.0
"""How long what is queued may still take when the sender itself has failed or was interrupted."""


class DeliveryFailed(RuntimeError):
    """Events were not acknowledged by Kafka; the message gives how many, the topics and Kafka's error codes."""


def lost_right(settings: Settings, topics: Iterable[str]) -> str:
    """Why a producer ended of which the library lost the reason: the topic to which this user may not write, if any."""
    admin = Admin(settings)
    described = admin.describe_topics(
        TopicCollection(sorted(topics)), include_authorized_operations=True, request_timeout=10
    )
    for topic, future in described.items():
        try:
            operations = admin.answer(future, "Describe", f"topic {topic}").authorized_operations
        except KafkaException as error:
            return f"topic {topic}: {error}"
        if operations is not None and AclOperation.WRITE not in operations:
            missing = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
            return str(not_allowed(settings, missing, "Write", f"topic {topic}"))
    return f"topic {', '.join(sorted(topics))}: the producer ended with a fatal error; publishing again is safe"


class Publisher:
    """Sends events to their topics; a context manager whose end waits until all are acknowledged."""

    def __init__(
        self, settings: Settings, *, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS, pace: float | None = None
    ) -> None:
        """`timeout_seconds`: how long an event may wait for its acknowledgement; `pace`: events a second, at most."""
        self.delivered: Counter[str] = Counter()
        """Events acknowledged so far, by topic."""
        self._failed: Counter[tuple[str, str]] = Counter()
        self._not_allowed: KafkaException | None = None
        self._settings = settings
        self._timeout = timeout_seconds
        self._pace = pace
        self._contracts = load_contracts(settings.schemas_dir)
        self._encoders: dict[str, Encoder] = {}
        self._seen_errors: set[str] = set()
        self._sent = 0
        self._started = time.monotonic()
        self._trouble = Trouble(settings)
        self._waiting_since = time.monotonic()
        self._producer = producer(
            settings,
            self._on_error,
            **{
                "client.id": "wardstream-publisher",
                "acks": "all",
                "enable.idempotence": True,
                "delivery.timeout.ms": int(timeout_seconds * 1000),
                "request.timeout.ms": int(min(30.0, timeout_seconds) * 1000),
                "linger.ms": 20,
                "compression.type": "lz4",
                "queue.buffering.max.messages": _QUEUE_MESSAGES,
                "queue.buffering.max.kbytes": _QUEUE_KBYTES,
                "reconnect.backoff.max.ms": 2000,
            },
        )

    def __enter__(self) -> Publisher:
        self._started = time.monotonic()
        return self

    def send(self, topic: str, event: Mapping[str, Any]) -> None:
        """Queue one event (values as `codec.Encoder.encode` takes them); waits while the queue is full or by the pace.

        DeliveryFailed as soon as any earlier event has failed; RegistryRefusedError,
        RegistryUnavailableError: the schema.
        """
        encoder = self._encoders.get(topic) or self._encoder(topic)
        self._keep_pace()
        if not len(self._producer):
            self._waiting_since = time.monotonic()
        value = encoder.encode(event)
        deadline = time.monotonic() + self._timeout
        while True:
            self._raise_failures()
            try:
                self._producer.produce(topic, value, key=event["patient_id"].encode(), on_delivery=self._on_delivery)
                break
            except BufferError:
                if time.monotonic() > deadline:
                    raise DeliveryFailed(f"topic {topic}: the queue stayed full for {self._timeout:g} s") from None
                self._serve(self._producer.poll, 0.2)
            except KafkaException as error:  # a fatal error of the producer
                raise self._fatal(error) from error
        self._serve(self._producer.poll, 0)
        self._sent += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Every queued event ends in a delivery report within its own timeout, so this wait ends too.
        deadline = time.monotonic() + (_GIVE_UP_SECONDS if kind else self._timeout + _GIVE_UP_SECONDS)
        while (left := self._serve(self._producer.flush, 0.5)) and time.monotonic() < deadline:
            if kind is None:  # a refusal stands for all; of single failures the others are awaited, and counted
                self._raise_refusal()
        if left and kind is None:
            self._failed["(any topic)", "still queued"] += left
        if kind is None:
            self._raise_failures()

    def _encoder(self, topic: str) -> Encoder:
        contract = self._contracts.get(topic)
        if contract is None:
            raise ContractError(f"topic {topic} has no contract under {self._settings.schemas_dir}")
        known = schema_id(self._settings, contract.subject, contract.latest)
        self._encoders[topic] = Encoder(contract.latest, known)
        return self._encoders[topic]

    def _keep_pace(self) -> None:
        if self._pace is None:
            return
        while (wait := self._started + self._sent / self._pace - time.monotonic()) > 0:
            self._serve(self._producer.poll, wait)

    def _serve(self, call: Callable[[float], int], seconds: float) -> int:
        """Let the library report, with what it raises of a fatal error as DeliveryFailed."""
        try:
            return call(seconds)
        except (KafkaException, SystemError) as error:
            # SystemError: a report was delivered while the fatal error was on its way; that one is its cause, or lost.
            fatal = error.__cause__ if isinstance(error, SystemError) else error
            if isinstance(fatal, KafkaException):
                raise self._fatal(fatal) from error
            raise DeliveryFailed(lost_right(self._settings, self._encoders)) from error

    def _fatal(self, error: KafkaException) -> DeliveryFailed:
        """A fatal error in words; one of rights comes where the user may write to no topic at all."""
        topics = f"topic {', '.join(sorted(self._encoders))}"
        missing = not_allowed(self._settings, error.args[0], "Write", topics)
        return DeliveryFailed(str(missing or f"{topics}: {error.args[0].name()}"))

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self.delivered[message.topic()] += 1
            self._waiting_since = time.monotonic()
        else:
            self._failed[message.topic(), error.name()] += 1
            self._not_allowed = not_allowed(self._settings, error, "Write", f"topic {message.topic()}")

    def _on_error(self, error: KafkaError) -> None:
        # Called for what happens outside a single message: a broker away (it comes back, or the events time out) or
        # a refused login (which shows nowhere else).
        self._trouble(error)
        if error.name() not in self._seen_errors:
            self._seen_errors.add(error.name())
            log.warning("kafka: %s; trying again until the timeout of %g s", error.name(), self._timeout)

    def _raise_refusal(self) -> None:
        refused = self._trouble.refused(self._waiting_since) or self._not_allowed
        if refused is not None:
            raise DeliveryFailed(
                f"{refused}; {self._failed.total() + len(self._producer)} events were not acknowledged"
            )

    def _raise_failures(self) -> None:
        self._raise_refusal()
        if self._failed:
            what = ", ".join(f"{topic}: {count} x {code}" for (topic, code), count in sorted(self._failed.items()))
            others = ", ".join(sorted(self._seen_errors)) or "none"
            raise DeliveryFailed(
                f"{sum(self._failed.values())} events were not acknowledged ({what}; connection: {others}); "
                "is Kafka running (`wardstream status`)? Publishing again is safe: a duplicate changes nothing"
            )
