"""Kafka topics as the contracts want them: made once, with the broker's clock on every record."""

from __future__ import annotations

import time

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic
from confluent_kafka.error import KafkaError

from wardstream.broker import Broker, TopicMissing
from wardstream.contracts.model import load_contracts
from wardstream.settings import Settings


class TopicError(RuntimeError):
    """Kafka would not make or describe a topic; the message names the topic and Kafka's error code."""


def admin_client(settings: Settings) -> AdminClient:
    """A client for topics. Keep a reference to it while its futures are awaited: they die with it."""
    # log_level: what the library would print comes to us as exceptions.
    return AdminClient({"bootstrap.servers": settings.kafka, "client.id": "wardstream-contracts", "log_level": 2})


def create_topics(settings: Settings, timeout_seconds: float = 30.0, replication: int = 1) -> dict[str, bool]:
    """Make the topics of all contracts; topic -> whether it was made now. Repeatable; existing topics stay as they are.

    Returns when clients can see them. LogAppendTime: a record's timestamp is the broker's, which the rule against
    clocks ahead compares with. TopicError where Kafka refuses or does not answer within the timeout.
    """
    admin = admin_client(settings)
    wanted = [
        NewTopic(
            contract.topic,
            num_partitions=contract.partitions or settings.topic_partitions,
            replication_factor=replication,
            config={
                "retention.ms": str(contract.retention_ms),
                "message.timestamp.type": "LogAppendTime",
                "min.insync.replicas": str(max(1, replication - 1)),
                "cleanup.policy": "delete",
            },
        )
        for contract in load_contracts(settings.schemas_dir).values()
    ]
    created: dict[str, bool] = {}
    for topic, future in admin.create_topics(wanted, request_timeout=timeout_seconds).items():
        try:
            future.result(timeout=timeout_seconds)
            created[topic] = True
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise TopicError(f"topic {topic} could not be made: {error.args[0].name()}") from error
            created[topic] = False
        except TimeoutError as error:
            raise TopicError(f"topic {topic} could not be made: no answer in {timeout_seconds:g} s") from error
    _await_visible(settings, [topic for topic, new in created.items() if new], timeout_seconds)
    return created


def _await_visible(settings: Settings, topics: list[str], timeout_seconds: float) -> None:
    """Wait until the broker that answers clients knows the new topics; the controller alone knew them at first."""
    deadline = time.monotonic() + timeout_seconds
    broker = Broker(settings.kafka, topics)
    while topics:
        try:
            broker.topic_ids()
            return
        except TopicMissing as error:
            if time.monotonic() > deadline:
                raise TopicError(f"{error}; it was made {timeout_seconds:g} s ago") from error
            time.sleep(0.05)
