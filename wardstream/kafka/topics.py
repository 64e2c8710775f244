"""Kafka topics as the contracts want them: made with the broker's clock on every record, kept to their contracts."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)
from confluent_kafka.error import KafkaError

from wardstream.contracts.model import Contract, load_contracts
from wardstream.kafka.broker import Broker, TopicMissing
from wardstream.settings import Settings

_DAY_MS = 86_400_000


class TopicError(RuntimeError):
    """Kafka would not make, describe or change a topic; the message names the topic, Kafka's error code and address."""


class TopicConflict(TopicError):
    """A topic is what its contract can never become, such as one with more partitions; trying again is no use."""


def admin_client(settings: Settings) -> AdminClient:
    """A client for topics. Keep a reference to it while its futures are awaited: they die with it."""
    # log_level: what the library would print comes to us as exceptions.
    return AdminClient({"bootstrap.servers": settings.kafka, "client.id": "wardstream-contracts", "log_level": 2})


def _config(contract: Contract) -> dict[str, str]:
    """What a topic must be set to. LogAppendTime: the rule against clocks ahead compares with the broker's clock."""
    return {
        "retention.ms": str(contract.retention_ms),
        "message.timestamp.type": "LogAppendTime",
        "cleanup.policy": "delete",
    }


def create_topics(settings: Settings, timeout_seconds: float = 30.0, replication: int = 1) -> dict[str, bool]:
    """Make the topics of all contracts; topic -> whether it was made now. Repeatable; existing topics stay as they are.

    Returns when clients can see them. TopicError where Kafka refuses or does not answer within the timeout.
    """
    admin = admin_client(settings)
    wanted = [
        NewTopic(
            contract.topic,
            num_partitions=contract.partitions or settings.topic_partitions,
            replication_factor=replication,
            config={**_config(contract), "min.insync.replicas": str(max(1, replication - 1))},
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
                raise _error(settings, f"topic {topic} could not be made", error) from error
            created[topic] = False
        except TimeoutError as error:
            raise TopicError(
                f"topic {topic} could not be made: no answer from Kafka ({settings.kafka}) in {timeout_seconds:g} s"
            ) from error
    _await_visible(settings, [topic for topic, new in created.items() if new], timeout_seconds)
    return created


def apply_topics(settings: Settings, timeout_seconds: float = 10.0) -> list[str]:
    """Make the topics that are missing and bring the others to their contracts; what was changed, in words.

    Settings that the contracts own are put back. Partitions are only ever added, and only where the contract names a
    number: TopicConflict, before anything is changed, where a topic has more than its contract says.
    `min.insync.replicas` and replication stay as they are: an administrator may have made them safer than we would.
    """
    contracts = load_contracts(settings.schemas_dir)
    admin = admin_client(settings)
    missing = create_topics(settings, timeout_seconds)
    existing = {topic: contracts[topic] for topic, made in missing.items() if not made}
    changes = [f"topic {topic}: made" for topic, made in missing.items() if made]
    try:
        more = _partitions_to_add(admin, existing, timeout_seconds)
        changes += _alter_configs(admin, existing, timeout_seconds)
        asked = [NewPartitions(topic, wanted) for topic, (_, wanted) in more.items()]
        for future in admin.create_partitions(asked, request_timeout=timeout_seconds).values() if asked else ():
            future.result()
    except KafkaException as error:
        raise _error(settings, "topics could not be compared with their contracts", error) from error
    return changes + [f"topic {topic}: partitions {old} -> {new}" for topic, (old, new) in more.items()]


def _partitions_to_add(
    admin: AdminClient, existing: Mapping[str, Contract], timeout: float
) -> dict[str, tuple[int, int]]:
    """Topic -> (partitions it has, partitions its contract wants), where the contract wants more."""
    wanted = {topic: contract.partitions for topic, contract in existing.items() if contract.partitions is not None}
    more = {}
    described: Mapping[str, Future[Any]] = (
        admin.describe_topics(TopicCollection(sorted(wanted)), request_timeout=timeout) if wanted else {}
    )
    for topic, future in described.items():
        there = len(future.result().partitions)
        if there > wanted[topic]:
            raise TopicConflict(
                f"topic {topic} has {there} partitions and its contract says {wanted[topic]}; Kafka cannot take "
                f"partitions away: write {there} into schemas/{topic}/contract.yaml"
            )
        if there < wanted[topic]:
            more[topic] = (there, wanted[topic])
    return more


def _alter_configs(admin: AdminClient, existing: Mapping[str, Contract], timeout: float) -> list[str]:
    """Set what differs from the contracts, and say it."""
    asked = [ConfigResource(ResourceType.TOPIC, topic) for topic in existing]
    changes, alter = [], []
    for resource, future in (admin.describe_configs(asked, request_timeout=timeout) if asked else {}).items():
        there = {name: entry.value for name, entry in future.result().items()}
        wanted = _config(existing[resource.name])
        different = {name: value for name, value in wanted.items() if there.get(name) != value}
        changes += [
            f"topic {resource.name}: {name} {_readable(name, there.get(name))} -> {_readable(name, value)}"
            for name, value in different.items()
        ]
        if different:
            entries = [
                ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
                for name, value in different.items()
            ]
            alter.append(ConfigResource(ResourceType.TOPIC, resource.name, incremental_configs=entries))
    for future in (admin.incremental_alter_configs(alter, request_timeout=timeout) if alter else {}).values():
        future.result()
    return changes


def _readable(name: str, value: str | None) -> str:
    """Retention in days where it is a whole number of them."""
    if name == "retention.ms" and value is not None and int(value) > 0 and int(value) % _DAY_MS == 0:
        return f"{int(value) // _DAY_MS} d"
    return str(value)


def _error(settings: Settings, what: str, error: KafkaException) -> TopicError:
    return TopicError(f"{what}: {error.args[0].name()} at Kafka ({settings.kafka})")


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
